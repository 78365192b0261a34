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
}  # fmt: skip
