"""The painter's manners: each turns a finished scene, uint8 RGB [SIZE, SIZE, 3], into the same scene in that manner.

Regular patterns (pixels, tiles, dots) have periods that divide 16 pixels, the autoencoder's step, so that every step sees
the same pattern.
"""

import cv2
import numpy as np

from places import SIZE, U, Rng, soft_noise


def _gray(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def _vivid(picture: np.ndarray, saturation: float, value: float = 1.0) -> np.ndarray:
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 1:] *= (saturation, value)
    return cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB)


def _flat(picture: np.ndarray) -> np.ndarray:
    """Without fine detail, edges kept: filtered at half size."""
    half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    half = cv2.bilateralFilter(cv2.medianBlur(half, 5), 7, 60, 7)
    return cv2.resize(half, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


def watercolour(picture: np.ndarray, rng: Rng) -> np.ndarray:
    flat = _flat(picture)
    pale = flat.astype(np.float32) * 0.66 + 255 * 0.34
    edges = cv2.GaussianBlur(cv2.morphologyEx(_gray(flat), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), (0, 0), 1.2)
    return pale - np.clip(edges.astype(np.float32), 0, 50)[..., None] * 0.9 + soft_noise(rng, 8, 9)


def ink(picture: np.ndarray, rng: Rng) -> np.ndarray:
    gray = cv2.GaussianBlur(_gray(_flat(picture)), (0, 0), 1.2)
    edges = cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)).astype(np.float32)
    tone = np.clip(gray * 0.85 + 62 - edges * 0.9, 0, 255)[..., None]
    return tone / 255 * np.array([246, 240, 224], np.float32) + soft_noise(rng, 8, 4)


def oil(picture: np.ndarray, rng: Rng) -> np.ndarray:
    steps = cv2.medianBlur((_flat(picture) // 32) * 32 + 16, 9).astype(np.float32)
    noise = rng.standard_normal((SIZE // 8, SIZE // 8)).astype(np.float32)
    strokes = cv2.resize(cv2.blur(noise, (3, 1)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)[..., None] * 20
    return (steps - 128) * 1.18 + 132 + strokes


def pixel(picture: np.ndarray, rng: Rng) -> np.ndarray:
    small = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA)
    return cv2.resize((small // 36) * 36 + 18, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST).astype(np.float32)


def sketch(picture: np.ndarray, rng: Rng) -> np.ndarray:
    gray = cv2.GaussianBlur(_gray(picture), (0, 0), 1.2)
    dodge = cv2.divide(gray, 255 - cv2.GaussianBlur(255 - gray, (0, 0), 4 * U), scale=250).astype(np.float32)
    return np.repeat((dodge * 0.82 + gray * 0.14 + 8)[..., None], 3, axis=2)


def neon(picture: np.ndarray, rng: Rng) -> np.ndarray:
    edges = cv2.morphologyEx(cv2.GaussianBlur(picture, (0, 0), 1.6), cv2.MORPH_GRADIENT, np.ones((6, 6), np.uint8))
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., 1:] = np.maximum(hsv[..., 1:], (230, 255))
    lines = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * (np.clip(edges.max(2, keepdims=True) * 1.7, 0, 255) / 255)
    return lines + 1.1 * cv2.GaussianBlur(lines, (0, 0), 4 * U) + np.array([10, 6, 26], np.float32)


def pastel(picture: np.ndarray, rng: Rng) -> np.ndarray:
    soft = cv2.GaussianBlur(picture, (0, 0), 0.9 * U).astype(np.float32)
    return soft * 0.5 + np.array([255, 238, 244], np.float32) * 0.5 + soft_noise(rng, 24, 3)


def papercut(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """Flat sheets of few colours; the white rim and the shadow of each thing are painted in `scenes.paste`."""
    flat = cv2.bilateralFilter(cv2.medianBlur((picture // 24) * 24 + 12, 5), 5, 40, 5)
    return flat.astype(np.float32) * 0.92 + 14


def _cells(picture: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Every cell of `label` (integers, 0 …) filled with its mean colour."""
    flat = label.ravel()
    size = np.maximum(np.bincount(flat), 1)
    means = [np.bincount(flat, picture[..., c].ravel(), len(size)) / size for c in range(3)]
    return np.stack(means, 1).astype(np.float32)[label]


def _grid(rng: Rng, cells: int, shake: float) -> np.ndarray:
    """Points of a shaken grid, [cells + 1, cells + 1, 2] as (x, y) in pixels, the border kept on the border."""
    step = SIZE / cells
    y, x = np.mgrid[0 : cells + 1, 0 : cells + 1].astype(np.float32)
    points = np.stack([x, y], 2) * step
    points[1:-1, 1:-1] += rng.uniform(-shake, shake, (cells - 1, cells - 1, 2)) * step
    return points


def glass(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """Stained glass: Voronoi cells in strong colours between dark leads."""
    seeds = np.full((SIZE, SIZE), 255, np.uint8)
    points = (_grid(rng, 16, 0.35)[:-1, :-1].reshape(-1, 2) + SIZE / 32).astype(int).clip(0, SIZE - 1)
    seeds[points[:, 1], points[:, 0]] = 0
    _, label = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    panes = _vivid(np.clip(_cells(picture, label), 0, 255).astype(np.uint8), 1.35, 1.08).astype(np.float32)
    leads = cv2.morphologyEx(label.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    cover = cv2.GaussianBlur(leads.astype(np.float32), (0, 0), 0.8)[..., None]
    return panes * (1 - cover) + np.array([22, 20, 26], np.float32) * cover


def lowpoly(picture: np.ndarray, rng: Rng) -> np.ndarray:
    cells = 16
    points = np.round(_grid(rng, cells, 0.3)).astype(np.int32)
    label = np.zeros((SIZE, SIZE), np.int32)
    for y in range(cells):
        for x in range(cells):
            a, b, c, d = points[y, x], points[y, x + 1], points[y + 1, x], points[y + 1, x + 1]
            halves = ((a, b, d), (a, d, c)) if (x + y) % 2 else ((a, b, c), (b, d, c))
            for k, corners in enumerate(halves):
                cv2.fillConvexPoly(label, np.array(corners), 2 * (y * cells + x) + k)
    return (_cells(picture, label) - 128) * 1.1 + 130


def mosaic(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """Square tiles with pale grout."""
    small = _vivid(cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA), 1.15)
    tiles = cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST).astype(np.float32)
    inside = np.clip(np.minimum(np.arange(SIZE) % 8, 7 - np.arange(SIZE) % 8) + 0.2, 0, 1).astype(np.float32)
    cover = (inside[:, None] * inside[None])[..., None]
    return tiles * cover + (tiles * 0.35 + np.array([222, 214, 200], np.float32) * 0.5) * (1 - cover)


def comic(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """Few strong colours, black outlines, dots where it is not bright."""
    flat = _flat(picture)
    gray = _gray(flat)
    strong = _vivid((flat // 52) * 52 + 36, 1.3, 1.05).astype(np.float32)
    edges = cv2.morphologyEx(cv2.GaussianBlur(gray, (0, 0), 1.0), cv2.MORPH_GRADIENT, np.ones((4, 4), np.uint8))
    yy, xx = np.mgrid[0:SIZE, 0:SIZE] % 8 - 3.5
    dots = np.clip(3.0 - np.hypot(xx, yy), 0, 1) * (gray < 170)
    strong -= 20 * dots.astype(np.float32)[..., None]
    dark = np.clip((200.0 - cv2.dilate(gray, np.ones((3, 3), np.uint8))) / 60, 0, 1)  # bright spots keep their inside
    cover = (np.clip((edges.astype(np.float32) - 18) / 24, 0, 1) * np.maximum(dark, edges < 90))[..., None]
    return strong * (1 - cover) + 16 * cover


APPLY = {
    "watercolour": watercolour, "ink": ink, "oil": oil, "pixel": pixel, "sketch": sketch, "neon": neon,
    "pastel": pastel, "papercut": papercut, "glass": glass, "lowpoly": lowpoly, "mosaic": mosaic, "comic": comic,
}  # fmt: skip
