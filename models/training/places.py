"""The painter's backgrounds: one function per place, each `(rng) -> float32 [SIZE, SIZE, 3]` with values in [0, 255].

Lengths are in units of a 128th of the side (`U` pixels). Shapes are large and noise is faint on purpose: the autoencoder
keeps few numbers per 16x16 pixels, so whatever is finer than that costs it accuracy where a person would look, on the
thing itself. Stars are few and big for the same reason: smaller ones vanished from what a first model learned.
"""

import os

import cv2
import numpy as np

SIZE = int(os.environ.get("FRAISE_PAINTER_SIZE", 256))  # 512 in the process that paints for the upscaler
U = SIZE / 128
Rng = np.random.Generator
RGB = {
    "red": (214, 52, 48), "orange": (245, 145, 45), "yellow": (250, 214, 70), "green": (88, 176, 84),
    "blue": (64, 126, 218), "purple": (140, 86, 188), "pink": (248, 164, 192), "white": (246, 246, 246),
    "black": (34, 34, 38), "gray": (150, 150, 156), "brown": (140, 92, 58), "turquoise": (62, 190, 190),
}  # fmt: skip
_YY, _XX = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / U


def jitter(rng: Rng, colour, amount: float = 9) -> np.ndarray:
    return np.clip(np.array(colour, np.float32) + rng.uniform(-amount, amount, 3), 0, 255).astype(np.float32)


def gradient(top, bottom, height: int = SIZE) -> np.ndarray:
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.repeat(np.asarray(top, np.float32) * (1 - t) + np.asarray(bottom, np.float32) * t, SIZE, axis=1)


def soft_noise(rng: Rng, cells: int, amount: float, channels: int = 1) -> np.ndarray:
    coarse = rng.standard_normal((cells, cells, channels)).astype(np.float32)
    return amount * cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).reshape(SIZE, SIZE, channels)


def ground(picture: np.ndarray, rng: Rng, height: float, roughness: float, colour, low=None) -> np.ndarray:
    """Fills the part below a gently waving line with a colour (a gradient to `low` at the bottom, if given)."""
    x = np.arange(SIZE) * 2 * np.pi / SIZE
    line = SIZE * height + U * sum(
        roughness / k * np.sin(x * k * rng.uniform(0.6, 1.3) + rng.uniform(0, 6.3)) for k in (1, 2, 3)
    )
    cover = np.clip(np.arange(SIZE)[:, None] - line[None] + 0.5, 0, 1).astype(np.float32)[..., None]
    fill = gradient(colour, colour if low is None else low)
    return picture * (1 - cover) + fill * cover


def disc(picture: np.ndarray, x: float, y: float, radius: float, colour, soft: float = 0.15, alpha: float = 1) -> None:
    cover = np.clip((1 - np.hypot(_XX - x, _YY - y) / radius) / soft, 0, 1)[..., None] * alpha
    picture += (np.asarray(colour, np.float32) - picture) * cover


def dot(picture: np.ndarray, x: float, y: float, radius: float, colour, ring: bool = False) -> None:
    """A small round spot (or a ring), placed to a sixteenth of a pixel."""
    centre = (int(x * U * 16), int(y * U * 16))
    colour = tuple(float(c) for c in colour)
    cv2.circle(picture, centre, int(radius * U * 16), colour, int(U) if ring else -1, cv2.LINE_AA, 4)


def polygon(picture: np.ndarray, corners, colour) -> None:
    points = np.round(np.array(corners) * U * 16).astype(np.int32)
    cv2.fillPoly(picture, [points], tuple(float(c) for c in colour), cv2.LINE_AA, 4)


def stars(picture: np.ndarray, rng: Rng, count: int, bottom: float) -> None:
    """Round stars and, one in three, sparkles of four points, none close to another."""
    placed: list[tuple[float, float]] = []
    for _ in range(count * 3):
        x, y = rng.uniform(4, 124), rng.uniform(4, 128 * bottom)
        if len(placed) == count or any((x - a) ** 2 + (y - b) ** 2 < 150 for a, b in placed):
            continue
        placed.append((x, y))
        if rng.random() < 0.35:
            r, s = rng.uniform(4.2, 5.6), 1.2
            points = [(x, y - r), (x + s, y - s), (x + r, y), (x + s, y + s), (x, y + r), (x - s, y + s), (x - r, y), (x - s, y - s)]
            polygon(picture, points, (255, 246, 190))
        else:
            dot(picture, x, y, rng.uniform(1.2, 2.2), (255, 250, 222))


def starry(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (10, 14, 60)), jitter(rng, (60, 60, 150)))
    stars(picture, rng, int(rng.integers(18, 25)), 0.8)
    return ground(picture, rng, 0.87, 4, jitter(rng, (14, 16, 36), 5))


def sunset(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (96, 52, 128)), jitter(rng, (255, 150, 64)))
    disc(picture, rng.uniform(24, 104), rng.uniform(58, 72), rng.uniform(13, 18), (255, 226, 130))
    return ground(picture, rng, 0.74, 4, jitter(rng, (84, 40, 70)), jitter(rng, (50, 24, 50)))


def sea(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (124, 198, 246)), jitter(rng, (212, 238, 250)))
    _water(picture, rng, rng.uniform(0.5, 0.56), (46, 146, 206), (18, 78, 150))
    return picture


def _water(picture: np.ndarray, rng: Rng, horizon: float, top, bottom) -> None:
    row = int(SIZE * horizon)
    picture[row:] = gradient(jitter(rng, top), jitter(rng, bottom), SIZE - row)
    shine = tuple(float(c) for c in picture[row, 0] * 0.6 + 100)
    for _ in range(10):
        x, y = rng.uniform(-10, 128), rng.uniform(128 * horizon + 5, 126)
        ends = (int(x * U), int(y * U)), (int((x + rng.uniform(10, 24)) * U), int(y * U))
        cv2.line(picture, *ends, shine, int((1.2 + (y > 100)) * U), cv2.LINE_AA)


def underwater(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (44, 166, 208)), jitter(rng, (8, 52, 116)))
    for _ in range(int(rng.integers(8, 13))):
        dot(picture, rng.uniform(0, 128), rng.uniform(0, 105), rng.uniform(2, 5.5), (172, 228, 246), rng.random() < 0.7)
    return ground(picture, rng, 0.88, 4, jitter(rng, (188, 170, 118)))


def desert(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (126, 194, 238)), jitter(rng, (248, 228, 184)))
    picture = ground(picture, rng, 0.6, 8, jitter(rng, (230, 184, 112)))
    return ground(picture, rng, 0.76, 7, jitter(rng, (206, 148, 76)))


def forest(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (176, 218, 200)), jitter(rng, (110, 164, 110)))
    for x in np.linspace(-6, 134, 9) + rng.uniform(-5, 5, 9):
        base, height, light = 98, rng.uniform(52, 84), rng.uniform(0.6, 1)
        outline = [(x - height * 0.3, base), (x + height * 0.3, base), (x, base - height)]
        polygon(picture, outline, (24 + 20 * light, 74 + 52 * light, 40 + 18 * light))
    return ground(picture, rng, 0.75, 3, jitter(rng, (66, 106, 48)))


def snow(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (150, 186, 224)), jitter(rng, (214, 230, 243)))
    for x in (rng.uniform(5, 40), rng.uniform(85, 123), rng.uniform(45, 80)):
        base, height = 98, rng.uniform(52, 78)
        polygon(picture, [(x - height * 0.8, base), (x + height * 0.8, base), (x, base - height)], (122, 144, 178))
        low = base - height * 0.65
        polygon(picture, [(x - height * 0.28, low), (x + height * 0.28, low), (x, base - height)], (250, 250, 255))
    picture = ground(picture, rng, 0.74, 4, jitter(rng, (240, 244, 251), 4))
    for _ in range(14):
        dot(picture, rng.uniform(0, 128), rng.uniform(0, 94), 1.6, (252, 252, 255))
    return picture


def city(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (160, 200, 232)), jitter(rng, (232, 224, 214)))
    x = -rng.uniform(0, 10)
    while x < 128:
        width, top = rng.uniform(18, 30), rng.uniform(20, 70)
        left, right = int(max(x, 0) * U), int((x + width) * U)
        picture[int(top * U) : int(SIZE * 0.84), left:right] = jitter(rng, (108, 114, 134), 22)
        for y in np.arange(top + 5, 100, 11):
            for window in np.arange(x + 4, x + width - 5, 8):
                corners = (int(window * U), int(y * U)), (int((window + 3) * U), int((y + 4) * U))
                cv2.rectangle(picture, *corners, (250, 226, 150), -1)
        x += width + rng.uniform(0, 3)
    picture[int(SIZE * 0.84) :] = jitter(rng, (74, 74, 82))
    return picture


def meadow(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (112, 188, 242)), jitter(rng, (206, 233, 246)))
    picture = ground(picture, rng, 0.58, 7, jitter(rng, (134, 200, 86)))
    picture = ground(picture, rng, 0.74, 6, jitter(rng, (88, 168, 62)))
    for _ in range(12):
        colour = [(255, 240, 120), (255, 255, 255), (250, 150, 180)][rng.integers(3)]
        dot(picture, rng.uniform(0, 128), rng.uniform(104, 128), 2.4, colour)
    return picture


def beach(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (124, 202, 248)), jitter(rng, (216, 240, 250)))
    _water(picture, rng, 0.46, (60, 178, 214), (80, 200, 216))
    picture = ground(picture, rng, 0.68, 4, (246, 250, 252))
    return ground(picture, rng, 0.71, 4, jitter(rng, (240, 216, 164)), jitter(rng, (222, 190, 130)))


def space(rng: Rng) -> np.ndarray:
    picture = np.zeros((SIZE, SIZE, 3), np.float32) + jitter(rng, (10, 7, 24), 4)
    glow = np.array([(130, 44, 150), (36, 76, 170), (150, 50, 84)][rng.integers(3)], np.float32)
    picture += np.clip(soft_noise(rng, 4, 1), 0, 1.5) * glow * 0.6
    stars(picture, rng, int(rng.integers(18, 25)), 1.0)
    return picture


def clouds(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (84, 160, 234)), jitter(rng, (182, 216, 246)))
    for _ in range(int(rng.integers(4, 6))):
        x, y = rng.uniform(0, 128), rng.uniform(8, 128)
        for _ in range(4):
            disc(picture, x + rng.uniform(-18, 18), y + rng.uniform(-4, 4), rng.uniform(10, 17), (250, 252, 255), 0.3, 0.9)
    return picture


def garden(rng: Rng) -> np.ndarray:
    """A white fence before a hedge, a lawn, and a bed of tulips."""
    picture = gradient(jitter(rng, (150, 210, 245)), jitter(rng, (216, 238, 246)))
    picture = ground(picture, rng, 0.36, 3, jitter(rng, (62, 132, 70)))
    for y in (58, 74):
        cv2.rectangle(picture, (0, int(y * U)), (SIZE, int((y + 4) * U)), (236, 232, 224), -1)
    for x in np.arange(rng.uniform(-12, -4), 128, 14):
        polygon(picture, [(x, 86), (x, 50), (x + 4, 44), (x + 8, 50), (x + 8, 86)], (250, 248, 242))
    picture = ground(picture, rng, 0.66, 1.5, jitter(rng, (128, 196, 84)))
    picture = ground(picture, rng, 0.84, 1.5, jitter(rng, (122, 82, 54)))
    for x in np.arange(6, 128, 13) + rng.uniform(-2, 2):
        colour = [(232, 62, 70), (252, 196, 60), (226, 110, 190)][rng.integers(3)]
        polygon(picture, [(x - 1, 112), (x + 1, 112), (x + 1, 124), (x - 1, 124)], (70, 150, 66))
        dot(picture, x, 111, 4.6, colour)
    return picture


def lake(rng: Rng) -> np.ndarray:
    """Still water between hills, whose green shows in it, and a near shore with reeds."""
    picture = gradient(jitter(rng, (146, 206, 240)), jitter(rng, (232, 240, 232)))
    picture = ground(picture, rng, 0.3, 9, jitter(rng, (126, 168, 150)))
    picture = ground(picture, rng, 0.4, 6, jitter(rng, (84, 142, 92)))
    row = int(SIZE * 0.5)
    picture[row:] = gradient(jitter(rng, (96, 158, 150)), jitter(rng, (150, 206, 224)), SIZE - row)
    for y in (74, 84, 94):
        x = rng.uniform(0, 80)
        ends = (int(x * U), int(y * U)), (int((x + 36) * U), int(y * U))
        cv2.line(picture, *ends, (206, 232, 234), int(1.5 * U), cv2.LINE_AA)
    picture = ground(picture, rng, 0.84, 3, jitter(rng, (104, 158, 74)))
    for x in (*rng.uniform(2, 26, 4), *rng.uniform(102, 126, 4)):
        polygon(picture, [(x - 1.6, 122), (x + 1.6, 122), (x + rng.uniform(-5, 5), rng.uniform(80, 94))], (64, 112, 56))
    return picture


def jungle(rng: Rng) -> np.ndarray:
    """Dense dark green with hanging vines and great leaves from all sides."""
    picture = gradient(jitter(rng, (40, 96, 56)), jitter(rng, (14, 56, 36)))
    disc(picture, 64, 44, 46, (146, 186, 92), 0.9, 0.8)
    for x in rng.uniform(6, 122, 5):
        end = (int((x + rng.uniform(-8, 8)) * U), int(rng.uniform(50, 90) * U))
        cv2.line(picture, (int(x * U), 0), end, (58, 84, 34), int(2 * U), cv2.LINE_AA)
    for turn in np.linspace(0, 2 * np.pi, 16, endpoint=False) + rng.uniform(-0.15, 0.15, 16):
        x, y = 64 + 74 * np.cos(turn), 64 + 74 * np.sin(turn)
        length, green = rng.uniform(24, 36), rng.uniform(0.7, 1.15)
        inward, aside = np.array([-np.cos(turn), -np.sin(turn)]), np.array([np.sin(turn), -np.cos(turn)])
        corners = [np.array([x, y]) + inward * length * a + aside * b for a, b in ((0, 5), (0.4, 11), (1, 0), (0.4, -11), (0, -5))]
        polygon(picture, corners, np.array((30, 132, 58)) * green)
    return ground(picture, rng, 0.86, 4, jitter(rng, (42, 74, 30)))


def room(rng: Rng) -> np.ndarray:
    """A plain wall, a wooden floor, a skirting board, a window with curtains and a carpet."""
    wall = [(244, 226, 196), (206, 222, 226), (232, 208, 208)][rng.integers(3)]
    picture = np.zeros((SIZE, SIZE, 3), np.float32) + jitter(rng, wall)
    x = (6, 78)[rng.integers(2)]
    for inset, colour in ((0, (250, 248, 244)), (3, (158, 210, 244))):
        corners = (int((x + inset) * U), int((10 + inset) * U)), (int((x + 44 - inset) * U), int((58 - inset) * U))
        cv2.rectangle(picture, *corners, colour, -1)
    for a, b, c, d in ((x + 20.5, 10, x + 23.5, 58), (x, 33, x + 44, 36)):
        cv2.rectangle(picture, (int(a * U), int(b * U)), (int(c * U), int(d * U)), (250, 248, 244), -1)
    for side in (-4, 39):
        cv2.rectangle(picture, (int((x + side) * U), int(7 * U)), (int((x + side + 9) * U), int(66 * U)), (198, 92, 82), -1)
    picture[int(SIZE * 0.72) :] = gradient(jitter(rng, (186, 132, 84)), jitter(rng, (150, 100, 62)), SIZE - int(SIZE * 0.72))
    picture[int(SIZE * 0.69) : int(SIZE * 0.72)] = (250, 246, 238)
    cv2.ellipse(picture, (SIZE // 2, int(113 * U)), (int(50 * U), int(11 * U)), 0, 0, 360, (96, 124, 168), -1, cv2.LINE_AA)
    return picture


def nightcity(rng: Rng) -> np.ndarray:
    """Dark towers with many lit windows under a violet sky."""
    picture = gradient(jitter(rng, (22, 16, 52)), jitter(rng, (112, 58, 118)))
    x = -rng.uniform(0, 10)
    while x < 128:
        width, top = rng.uniform(18, 30), rng.uniform(18, 64)
        picture[int(top * U) : int(SIZE * 0.86), int(max(x, 0) * U) : int((x + width) * U)] = jitter(rng, (26, 26, 48), 8)
        light = [(255, 216, 100), (255, 160, 90), (130, 220, 255)][rng.integers(3)]
        for y in np.arange(top + 5, 104, 9):
            for window in np.arange(x + 4, x + width - 5, 8):
                if rng.random() < 0.75:
                    corners = (int(window * U), int(y * U)), (int((window + 4) * U), int((y + 4) * U))
                    cv2.rectangle(picture, *corners, light, -1)
        x += width + rng.uniform(0, 3)
    picture[int(SIZE * 0.86) :] = jitter(rng, (30, 28, 44), 5)
    return picture


def street(rng: Rng) -> np.ndarray:
    """A road that runs to the horizon, with a dashed middle line, between pavements and low houses."""
    picture = gradient(jitter(rng, (148, 204, 244)), jitter(rng, (226, 238, 244)))
    for x, width in ((0, 26), (26, 20), (82, 20), (102, 26)):
        top, colour = rng.uniform(22, 36), [(222, 142, 106), (236, 200, 130), (160, 184, 200), (204, 160, 176)][rng.integers(4)]
        polygon(picture, [(x, 66), (x, top), (x + width / 2, top - 10), (x + width, top), (x + width, 66)], jitter(rng, colour))
        left, right = x + 7, x + width - 7
        polygon(picture, [(left, top + 14), (right, top + 14), (right, top + 4), (left, top + 4)], (244, 240, 220))
    picture[int(SIZE * 0.5) :] = jitter(rng, (196, 190, 180))
    polygon(picture, [(54, 64), (74, 64), (132, 128), (-4, 128)], jitter(rng, (92, 92, 98)))
    for near, far in ((128, 114), (106, 95), (88, 80), (75, 69)):
        a, b = (near - 60) * 0.045, (far - 60) * 0.045
        polygon(picture, [(64 - a, near), (64 + a, near), (64 + b, far), (64 - b, far)], (250, 244, 220))
    return picture


def rain(rng: Rng) -> np.ndarray:
    """Heavy gray clouds, slanting drops and puddles."""
    picture = gradient(jitter(rng, (92, 102, 118)), jitter(rng, (166, 178, 190)))
    for x in np.linspace(4, 124, 7) + rng.uniform(-5, 5, 7):
        dot(picture, x, rng.uniform(-4, 5), rng.uniform(15, 20), (70, 78, 92))
    picture = ground(picture, rng, 0.82, 2, jitter(rng, (98, 108, 112)))
    for x, y in ((rng.uniform(14, 44), 113), (rng.uniform(78, 112), 119)):
        cv2.ellipse(picture, (int(x * U), int(y * U)), (int(22 * U), int(5 * U)), 0, 0, 360, (166, 188, 204), -1, cv2.LINE_AA)
    for i in range(26):
        x, y = i * 37 % 132 + rng.uniform(-4, 4), 22 + i * 23 % 88 + rng.uniform(-4, 4)
        ends = (int(x * U), int(y * U)), (int((x - 4) * U), int((y + 12) * U))
        cv2.line(picture, *ends, (206, 226, 242), int(1.6 * U), cv2.LINE_AA)
    return picture


def moonscape(rng: Rng) -> np.ndarray:
    """Gray ground with craters under a black sky, in which the Earth stands."""
    picture = np.zeros((SIZE, SIZE, 3), np.float32) + jitter(rng, (8, 8, 14), 4)
    stars(picture, rng, 9, 0.5)
    x, y = rng.choice([24, 104]) + rng.uniform(-4, 4), rng.uniform(20, 28)
    for dx, dy, radius, colour in ((0, 0, 13.5, (60, 124, 214)), (-4, -3, 5, (92, 170, 92)), (6, 5, 3.5, (236, 244, 250))):
        dot(picture, x + dx, y + dy, radius, colour)
    picture = ground(picture, rng, 0.6, 4, jitter(rng, (176, 176, 180), 5), jitter(rng, (122, 122, 128), 5))
    for x, y, width in ((16, 92, 15), (108, 88, 17), (40, 117, 19), (92, 119, 22)):
        x, y, wide = int((x + rng.uniform(-4, 4)) * U), int(y * U), width * U
        cv2.ellipse(picture, (x, y), (int(wide), int(wide * 0.36)), 0, 0, 360, (206, 206, 210), -1, cv2.LINE_AA)
        inside = (int(wide * 0.84), int(wide * 0.26))
        cv2.ellipse(picture, (x, y + int(1.5 * U)), inside, 0, 0, 360, (92, 92, 98), -1, cv2.LINE_AA)
    return picture


def cave(rng: Rng) -> np.ndarray:
    """Dark rock around, stone icicles from above, and daylight behind."""
    picture = gradient(jitter(rng, (66, 54, 50), 6), jitter(rng, (40, 32, 32), 6))
    disc(picture, 64, 62, 56, (126, 106, 92), 0.2)
    disc(picture, 64, 62, 46, (186, 166, 140), 0.25)
    disc(picture, 64, 62, 34, (242, 234, 208), 0.5)
    for x in np.linspace(4, 124, 8) + rng.uniform(-5, 5, 8):
        width, length = rng.uniform(7, 10), rng.uniform(16, 22) + abs(x - 64) * 0.35
        polygon(picture, [(x - width, -1), (x + width, -1), (x, length)], jitter(rng, (54, 44, 42), 5))
    return ground(picture, rng, 0.8, 4, jitter(rng, (92, 76, 66)), jitter(rng, (58, 46, 42)))


def flowerfield(rng: Rng) -> np.ndarray:
    """Rows of sunflowers, larger towards the front."""
    picture = gradient(jitter(rng, (108, 184, 242)), jitter(rng, (204, 232, 246)))
    picture = ground(picture, rng, 0.4, 3, jitter(rng, (112, 160, 56)), jitter(rng, (64, 120, 40)))
    for y, radius in ((58, 4.5), (70, 6), (86, 8), (108, 11)):
        for x in np.arange(rng.uniform(-2 * radius, 0), 130, 2.5 * radius):
            dot(picture, x, y, radius, (250, 200, 40))
            dot(picture, x, y, radius * 0.45, (112, 66, 30))
    return picture


def autumn(rng: Rng) -> np.ndarray:
    """Round trees in orange, red and yellow over fallen leaves."""
    picture = gradient(jitter(rng, (206, 220, 226)), jitter(rng, (248, 232, 200)))
    for x in np.linspace(2, 126, 6) + rng.uniform(-5, 5, 6):
        polygon(picture, [(x - 2.5, 98), (x + 2.5, 98), (x + 2, 50), (x - 2, 50)], (104, 68, 46))
        colour = jitter(rng, [(234, 126, 38), (206, 72, 40), (244, 184, 56)][rng.integers(3)])
        y, radius = rng.uniform(34, 52), rng.uniform(15, 20)
        for dx, dy in ((-7, 6), (7, 6), (0, -4)):
            dot(picture, x + dx, y + dy, radius * 0.72, colour)
    picture = ground(picture, rng, 0.74, 3, jitter(rng, (206, 150, 76)), jitter(rng, (166, 104, 50)))
    for _ in range(12):
        colour = [(214, 74, 36), (248, 196, 62), (150, 66, 30)][rng.integers(3)]
        dot(picture, rng.uniform(0, 128), rng.uniform(102, 128), 2.6, colour)
    return picture


def aurora(rng: Rng) -> np.ndarray:
    """Green and violet curtains of light over a dark snowfield."""
    picture = gradient(jitter(rng, (6, 12, 40)), jitter(rng, (22, 48, 84)))
    stars(picture, rng, 8, 0.6)
    x = np.arange(SIZE, dtype=np.float32) / U
    height = (np.arange(SIZE, dtype=np.float32) / U)[:, None]
    for middle, low, colour in ((rng.uniform(66, 74), 46, (60, 240, 150)), (rng.uniform(40, 48), 34, (150, 90, 230))):
        line = middle + 9 * np.sin(x / rng.uniform(11, 15) + rng.uniform(0, 6.3)) + 5 * np.sin(x / 7 + rng.uniform(0, 6.3))
        up = (line[None] - height) / low
        light = np.clip(np.where(up > 0, 1 - up, 1 + 7 * up), 0, 1)[..., None] * 0.85
        picture += (np.array(colour, np.float32) - picture) * light
    return ground(picture, rng, 0.84, 4, jitter(rng, (176, 204, 222)), jitter(rng, (120, 152, 188)))


def lava(rng: Rng) -> np.ndarray:
    """A smoking volcano and black rock with glowing rivers under a dark red sky."""
    picture = gradient(jitter(rng, (46, 14, 22)), jitter(rng, (176, 58, 30)))
    x = rng.choice([26, 102]) + rng.uniform(-6, 6)
    disc(picture, x, 22, 24, (255, 130, 40), 1.0, 0.8)
    polygon(picture, [(x - 50, 96), (x - 9, 30), (x + 9, 30), (x + 50, 96)], jitter(rng, (56, 36, 38), 5))
    polygon(picture, [(x - 8, 29), (x + 8, 29), (x + 3, 52), (x + 9, 84), (x - 4, 84), (x - 2, 54)], (255, 132, 30))
    picture = ground(picture, rng, 0.7, 3, jitter(rng, (52, 36, 38), 5), jitter(rng, (30, 22, 26), 5))
    for y, width in ((101, 4), (118, 6)):
        across = np.linspace(-8, 136, 9)
        line = np.stack([across, y + 5 * np.sin(across / rng.uniform(12, 18) + rng.uniform(0, 6.3))], 1)
        for wide, colour in ((width, (232, 62, 20)), (width * 0.45, (255, 190, 60))):
            points = np.round(line * U * 16).astype(np.int32)
            cv2.polylines(picture, [points], False, colour, int(wide * U), cv2.LINE_AA, 4)
    return picture


def plain(rng: Rng, colour: str) -> np.ndarray:
    return np.zeros((SIZE, SIZE, 3), np.float32) + jitter(rng, RGB[colour])


def island(rng: Rng, night: bool) -> np.ndarray:
    """A small round island in the middle of the sea; its top is at 76 % of the height."""
    picture = gradient(jitter(rng, (10, 14, 60)), jitter(rng, (66, 66, 158))) if night else sea(rng)
    if night:
        stars(picture, rng, int(rng.integers(17, 24)), 0.58)
        _water(picture, rng, 0.64, (34, 62, 136), (12, 22, 70))
    else:
        _water(picture, rng, 0.6, (46, 150, 210), (18, 84, 156))
    shade = 0.75 if night else 1.0
    for y, axes, colour in ((105, (52, 13), (232, 204, 142)), (101, (44, 10), (112, 180, 78))):
        fill = tuple(float(c) * shade for c in jitter(rng, colour, 6))
        size = tuple(int(a * U) for a in axes)
        cv2.ellipse(picture, (SIZE // 2, int(y * U)), size, 0, 0, 360, fill, -1, cv2.LINE_AA)
    return picture


PAINT = {
    "starry": starry, "sunset": sunset, "sea": sea, "underwater": underwater, "desert": desert, "forest": forest,
    "snow": snow, "city": city, "meadow": meadow, "beach": beach, "space": space, "clouds": clouds,
    "garden": garden, "lake": lake, "jungle": jungle, "room": room, "nightcity": nightcity, "street": street, "rain": rain,
    "moonscape": moonscape, "cave": cave, "flowerfield": flowerfield, "autumn": autumn, "aurora": aurora, "lava": lava,
}  # fmt: skip
