"""The painter's manners: each turns a finished scene, uint8 RGB [128, 128, 3], into the same scene in that manner."""

import cv2
import numpy as np

from places import SIZE, Rng, soft_noise


def watercolour(picture: np.ndarray, rng: Rng) -> np.ndarray:
    flat = cv2.bilateralFilter(cv2.medianBlur(picture, 5), 7, 60, 7)
    pale = flat.astype(np.float32) * 0.66 + 255 * 0.34
    edges = np.abs(cv2.Laplacian(cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY), cv2.CV_32F, ksize=3))
    return pale - np.clip(edges, 0, 40)[..., None] * 0.7 + soft_noise(rng, 8, 9)


def ink(picture: np.ndarray, rng: Rng) -> np.ndarray:
    gray = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    edges = cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(np.float32)
    tone = np.clip((gray - 20.0) * 1.15 + 45 - edges * 0.9, 0, 255)[..., None]
    return tone / 255 * np.array([246, 240, 224], np.float32) + soft_noise(rng, 8, 4)


def oil(picture: np.ndarray, rng: Rng) -> np.ndarray:
    steps = cv2.medianBlur((picture // 32) * 32 + 16, 7).astype(np.float32)
    strokes = cv2.blur(soft_noise(rng, 32, 16), (11, 3)).reshape(SIZE, SIZE, 1)
    return (steps - 128) * 1.18 + 132 + strokes


def pixel(picture: np.ndarray, rng: Rng) -> np.ndarray:
    small = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA)
    return cv2.resize((small // 36) * 36 + 18, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST).astype(np.float32)


def sketch(picture: np.ndarray, rng: Rng) -> np.ndarray:
    gray = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 0.7)
    dodge = cv2.divide(gray, 255 - cv2.GaussianBlur(255 - gray, (0, 0), 4), scale=250).astype(np.float32)
    return np.repeat((dodge * 0.82 + gray * 0.14 + 8)[..., None], 3, axis=2)


def neon(picture: np.ndarray, rng: Rng) -> np.ndarray:
    edges = cv2.morphologyEx(cv2.GaussianBlur(picture, (0, 0), 0.8), cv2.MORPH_GRADIENT, np.ones((4, 4), np.uint8))
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., 1:] = np.maximum(hsv[..., 1:], (230, 255))
    lines = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * (np.clip(edges.max(2, keepdims=True) * 1.7, 0, 255) / 255)
    return lines + 1.1 * cv2.GaussianBlur(lines, (0, 0), 4) + np.array([10, 6, 26], np.float32)


def pastel(picture: np.ndarray, rng: Rng) -> np.ndarray:
    soft = cv2.GaussianBlur(picture, (0, 0), 0.9).astype(np.float32)
    return soft * 0.5 + np.array([255, 238, 244], np.float32) * 0.5 + soft_noise(rng, 24, 3)


def papercut(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """Flat sheets of few colours; the white rim and the shadow of each thing are painted in `scenes.paste`."""
    flat = cv2.medianBlur(cv2.pyrMeanShiftFiltering(picture, 5, 24, maxLevel=1), 3)
    return flat.astype(np.float32) * 0.92 + 14


APPLY = {
    "watercolour": watercolour, "ink": ink, "oil": oil, "pixel": pixel, "sketch": sketch, "neon": neon,
    "pastel": pastel, "papercut": papercut,
}  # fmt: skip
