"""The latents: principal components of 16x16 patches at half their resolution, so that they need no training and never move.

A first model's autoencoder, trained end to end on little compute, kept less of a picture than these do. The strongest
components come first, and their scales fall slowly (`FALL`): faint detail stays fainter, costs the denoiser less and shows
late in sampling. The decoder learns to undo it all (`autoencoder.py`).
"""

from pathlib import Path

import numpy as np

PATCH, CHANNELS = 8, 24  # a side of a patch, at half resolution
FALL, STRONGEST = 0.3, 1.4


def patches(pictures: np.ndarray, size: int) -> np.ndarray:
    """[N, H, W, 3], values to 255 → float32 [N, H/size, W/size, size * size * 3] in [-1, 1]."""
    n, h, w, _ = pictures.shape
    x = pictures.reshape(n, h // size, size, w // size, size, 3).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // size, w // size, -1).astype(np.float32) / 127.5 - 1


def half(pictures: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels: float32 [N, H/2, W/2, 3]."""
    n, h, w, _ = pictures.shape
    return pictures.reshape(n, h // 2, 2, w // 2, 2, 3).mean((2, 4), dtype=np.float32)


class Components:
    """`mean` [192], `basis` [192, CHANNELS] (orthonormal columns) and `scale` [CHANNELS]."""

    def __init__(self, mean: np.ndarray, basis: np.ndarray, scale: np.ndarray):
        self.mean, self.basis, self.scale = mean, basis, scale

    @classmethod
    def fit(cls, pictures: np.ndarray) -> "Components":
        x = patches(half(pictures), PATCH).reshape(-1, 3 * PATCH * PATCH)
        mean = x.mean(0)
        variance, vectors = np.linalg.eigh(np.cov((x - mean).T, dtype=np.float32))
        basis, deviation = vectors[:, ::-1][:, :CHANNELS], np.sqrt(variance[::-1][:CHANNELS])
        wanted = STRONGEST * (deviation / deviation[0]) ** FALL
        return cls(mean, np.ascontiguousarray(basis), (deviation / wanted).astype(np.float32))

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, 3] → float32 [N, CHANNELS, H/16, W/16]; channel deviations from 1.4 down to about 0.5."""
        z = (patches(half(pictures), PATCH) - self.mean) @ self.basis / self.scale
        return z.transpose(0, 3, 1, 2)

    def convolution(self) -> tuple[np.ndarray, np.ndarray]:
        """The same as a convolution with stride 16 of pixels in [-1, 1]: weight [CHANNELS, 3, 16, 16] and bias."""
        matrix = (self.basis / self.scale).T
        weight = matrix.reshape(CHANNELS, PATCH, PATCH, 3).transpose(0, 3, 1, 2).repeat(2, axis=2).repeat(2, axis=3) / 4
        return weight.astype(np.float32), (-matrix @ self.mean).astype(np.float32)

    def save(self, path: Path) -> None:
        np.savez(path, mean=self.mean, basis=self.basis, scale=self.scale)

    @classmethod
    def load(cls, path: Path) -> "Components":
        stored = np.load(path)
        return cls(stored["mean"], stored["basis"], stored["scale"])
