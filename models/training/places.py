"""The painter's backgrounds: one function per place, each `(rng) -> float32 [128, 128, 3]` with values in [0, 255].

Shapes are large and noise is faint on purpose: the autoencoder keeps 16 numbers per 16x16 pixels, so whatever is finer
than that costs it accuracy where a person would look, on the thing itself.
"""

import cv2
import numpy as np

SIZE = 128
Rng = np.random.Generator
RGB = {
    "red": (214, 52, 48), "orange": (245, 145, 45), "yellow": (250, 214, 70), "green": (88, 176, 84),
    "blue": (64, 126, 218), "purple": (140, 86, 188), "pink": (248, 164, 192), "white": (246, 246, 246),
    "black": (34, 34, 38), "gray": (150, 150, 156),
}  # fmt: skip


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
    line = SIZE * height + sum(
        roughness / k * np.sin(x * k * rng.uniform(0.6, 1.3) + rng.uniform(0, 6.3)) for k in (1, 2, 3)
    )
    cover = np.clip(np.arange(SIZE)[:, None] - line[None] + 0.5, 0, 1).astype(np.float32)[..., None]
    fill = gradient(colour, colour if low is None else low)
    return picture * (1 - cover) + fill * cover


def disc(picture: np.ndarray, x: float, y: float, radius: float, colour, soft: float = 0.15, alpha: float = 1) -> None:
    yy, xx = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    cover = np.clip((1 - np.hypot(xx - x, yy - y) / radius) / soft, 0, 1)[..., None] * alpha
    picture += (np.asarray(colour, np.float32) - picture) * cover


def stars(picture: np.ndarray, rng: Rng, count: int, bottom: float) -> None:
    for _ in range(count):
        centre = (int(rng.integers(2, SIZE - 2)), int(rng.integers(2, int(SIZE * bottom))))
        cv2.circle(picture, centre, int(rng.integers(1, 3)), (255, 248, 215), -1, cv2.LINE_AA)


def starry(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (10, 14, 56)), jitter(rng, (54, 54, 138)))
    stars(picture, rng, int(rng.integers(22, 36)), 0.8)
    return ground(picture, rng, 0.87, 4, jitter(rng, (14, 16, 36), 5))


def sunset(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (96, 52, 128)), jitter(rng, (255, 150, 64)))
    disc(picture, rng.uniform(24, 104), rng.uniform(58, 72), rng.uniform(13, 18), (255, 226, 130))
    return ground(picture, rng, 0.74, 4, jitter(rng, (84, 40, 70)), jitter(rng, (50, 24, 50)))


def sea(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (124, 198, 246)), jitter(rng, (212, 238, 250)))
    _water(picture, rng, int(SIZE * rng.uniform(0.5, 0.56)), (46, 146, 206), (18, 78, 150))
    return picture


def _water(picture: np.ndarray, rng: Rng, horizon: int, top, bottom) -> None:
    picture[horizon:] = gradient(jitter(rng, top), jitter(rng, bottom), SIZE - horizon)
    shine = tuple(float(c) for c in picture[horizon, 0] * 0.6 + 100)
    for _ in range(12):
        x, y = int(rng.integers(-10, SIZE)), int(rng.integers(horizon + 4, SIZE))
        cv2.line(picture, (x, y), (x + int(rng.integers(10, 24)), y), shine, 1 + int(y > 100))


def underwater(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (44, 166, 208)), jitter(rng, (8, 52, 116)))
    for _ in range(int(rng.integers(8, 14))):
        centre = (int(rng.integers(0, SIZE)), int(rng.integers(0, 105)))
        cv2.circle(picture, centre, int(rng.integers(2, 6)), (172, 228, 246), 1 + int(rng.random() < 0.3), cv2.LINE_AA)
    return ground(picture, rng, 0.88, 4, jitter(rng, (188, 170, 118)))


def desert(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (126, 194, 238)), jitter(rng, (248, 228, 184)))
    picture = ground(picture, rng, 0.6, 8, jitter(rng, (230, 184, 112)))
    return ground(picture, rng, 0.76, 7, jitter(rng, (206, 148, 76)))


def forest(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (176, 218, 200)), jitter(rng, (110, 164, 110)))
    for x in np.linspace(-6, SIZE + 6, 10) + rng.uniform(-5, 5, 10):
        base, height, light = SIZE * 0.76, rng.uniform(52, 84), rng.uniform(0.6, 1)
        outline = np.array([[x - height * 0.3, base], [x + height * 0.3, base], [x, base - height]], np.int32)
        cv2.fillPoly(picture, [outline], (24 + 20 * light, 74 + 52 * light, 40 + 18 * light), cv2.LINE_AA)
    return ground(picture, rng, 0.75, 3, jitter(rng, (66, 106, 48)))


def snow(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (150, 186, 224)), jitter(rng, (214, 230, 243)))
    for x in (rng.uniform(5, 40), rng.uniform(85, 123), rng.uniform(45, 80)):
        base, height = SIZE * 0.76, rng.uniform(52, 78)
        mountain = [[x - height * 0.8, base], [x + height * 0.8, base], [x, base - height]]
        peak = [[x - height * 0.28, base - height * 0.65], [x + height * 0.28, base - height * 0.65], [x, base - height]]
        cv2.fillPoly(picture, [np.array(mountain, np.int32)], (122, 144, 178), cv2.LINE_AA)
        cv2.fillPoly(picture, [np.array(peak, np.int32)], (250, 250, 255), cv2.LINE_AA)
    picture = ground(picture, rng, 0.74, 4, jitter(rng, (240, 244, 251), 4))
    for _ in range(18):
        cv2.circle(picture, (int(rng.integers(0, SIZE)), int(rng.integers(0, 94))), 1, (252, 252, 255), -1, cv2.LINE_AA)
    return picture


def city(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (160, 200, 232)), jitter(rng, (232, 224, 214)))
    x = -int(rng.integers(0, 10))
    while x < SIZE:
        width, top = int(rng.integers(18, 30)), int(rng.integers(20, 70))
        left = max(x, 0)
        picture[top : int(SIZE * 0.84), left : x + width] = jitter(rng, (108, 114, 134), 22)
        for y in range(top + 5, int(SIZE * 0.78), 11):
            for window in range(x + 4, x + width - 5, 8):
                cv2.rectangle(picture, (window, y), (window + 3, y + 4), (250, 226, 150), -1)
        x += width + int(rng.integers(0, 3))
    picture[int(SIZE * 0.84) :] = jitter(rng, (74, 74, 82))
    return picture


def meadow(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (112, 188, 242)), jitter(rng, (206, 233, 246)))
    picture = ground(picture, rng, 0.58, 7, jitter(rng, (134, 200, 86)))
    picture = ground(picture, rng, 0.74, 6, jitter(rng, (88, 168, 62)))
    for _ in range(14):
        centre = (int(rng.integers(0, SIZE)), int(rng.integers(int(SIZE * 0.8), SIZE)))
        colour = [(255, 240, 120), (255, 255, 255), (250, 150, 180)][rng.integers(3)]
        cv2.circle(picture, centre, 2, colour, -1, cv2.LINE_AA)
    return picture


def beach(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (124, 202, 248)), jitter(rng, (216, 240, 250)))
    _water(picture, rng, int(SIZE * 0.46), (60, 178, 214), (80, 200, 216))
    picture = ground(picture, rng, 0.68, 4, (246, 250, 252))
    return ground(picture, rng, 0.71, 4, jitter(rng, (240, 216, 164)), jitter(rng, (222, 190, 130)))


def space(rng: Rng) -> np.ndarray:
    picture = np.zeros((SIZE, SIZE, 3), np.float32) + jitter(rng, (10, 7, 24), 4)
    glow = np.array([(130, 44, 150), (36, 76, 170), (150, 50, 84)][rng.integers(3)], np.float32)
    picture += np.clip(soft_noise(rng, 4, 1), 0, 1.5) * glow * 0.6
    stars(picture, rng, int(rng.integers(22, 34)), 1.0)
    return picture


def clouds(rng: Rng) -> np.ndarray:
    picture = gradient(jitter(rng, (84, 160, 234)), jitter(rng, (182, 216, 246)))
    for _ in range(int(rng.integers(4, 6))):
        x, y = rng.uniform(0, SIZE), rng.uniform(8, SIZE)
        for _ in range(4):
            disc(picture, x + rng.uniform(-18, 18), y + rng.uniform(-4, 4), rng.uniform(10, 17), (250, 252, 255), 0.4, 0.9)
    return picture


def plain(rng: Rng, colour: str) -> np.ndarray:
    return np.zeros((SIZE, SIZE, 3), np.float32) + jitter(rng, RGB[colour])


def island(rng: Rng, night: bool) -> np.ndarray:
    """A small round island in the middle of the sea; its top is at 76 % of the height."""
    picture = gradient(jitter(rng, (10, 14, 56)), jitter(rng, (60, 62, 150))) if night else sea(rng)
    if night:
        stars(picture, rng, int(rng.integers(24, 38)), 0.6)
        _water(picture, rng, int(SIZE * 0.64), (34, 62, 136), (12, 22, 70))
    else:
        _water(picture, rng, int(SIZE * 0.6), (46, 150, 210), (18, 84, 156))
    shade = 0.75 if night else 1.0
    for y, axes, colour in ((105, (52, 13), (232, 204, 142)), (101, (44, 10), (112, 180, 78))):
        fill = tuple(float(c) * shade for c in jitter(rng, colour, 6))
        cv2.ellipse(picture, (SIZE // 2, y), axes, 0, 0, 360, fill, -1, cv2.LINE_AA)
    return picture


PAINT = {
    "starry": starry, "sunset": sunset, "sea": sea, "underwater": underwater, "desert": desert, "forest": forest,
    "snow": snow, "city": city, "meadow": meadow, "beach": beach, "space": space, "clouds": clouds,
}  # fmt: skip
