"""The latents: principal components of 16x16 patches, so that they need no training and never move.

A first model's autoencoder, trained end to end on little compute, kept less of a picture than these do. The strongest
components come first, and their scales fall slowly (`FALL`): faint detail stays fainter, costs the denoiser less and shows
late in sampling. None is much above 1, since `AutoencoderTiny`'s decoder squeezes latents by 3 tanh(x / 3) first. The
decoder learns to undo it all (`decoder.py`).
"""

from pathlib import Path

import numpy as np

PATCH, CHANNELS = 16, 48
FALL, STRONGEST = 0.3, 1.4


def patches(pictures: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, 3] → float32 [N, H/16, W/16, 768] in [-1, 1]."""
    n, h, w, _ = pictures.shape
    x = pictures.reshape(n, h // PATCH, PATCH, w // PATCH, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // PATCH, w // PATCH, -1).astype(np.float32) / 127.5 - 1


class Components:
    """`mean` [768], `basis` [768, CHANNELS] (orthonormal columns) and `scale` [CHANNELS]."""

    def __init__(self, mean: np.ndarray, basis: np.ndarray, scale: np.ndarray):
        self.mean, self.basis, self.scale = mean, basis, scale

    @classmethod
    def fit(cls, pictures: np.ndarray) -> "Components":
        x = patches(pictures).reshape(-1, 3 * PATCH * PATCH)
        mean = x.mean(0)
        variance, vectors = np.linalg.eigh(np.cov((x - mean).T, dtype=np.float32))
        basis, deviation = vectors[:, ::-1][:, :CHANNELS], np.sqrt(variance[::-1][:CHANNELS])
        wanted = STRONGEST * (deviation / deviation[0]) ** FALL
        return cls(mean, np.ascontiguousarray(basis), (deviation / wanted).astype(np.float32))

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """float32 [N, CHANNELS, H/16, W/16]; channel deviations from 1.4 down to about 0.5."""
        z = (patches(pictures) - self.mean) @ self.basis / self.scale
        return z.transpose(0, 3, 1, 2)

    def linear_decode(self, z: np.ndarray) -> np.ndarray:
        """The best linear reconstruction: float32 [N, H, W, 3] in [-1, 1]."""
        x = (z.transpose(0, 2, 3, 1) * self.scale) @ self.basis.T + self.mean
        n, h, w, _ = x.shape
        return x.reshape(n, h, w, PATCH, PATCH, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, h * PATCH, w * PATCH, 3)

    def save(self, path: Path) -> None:
        np.savez(path, mean=self.mean, basis=self.basis, scale=self.scale)

    @classmethod
    def load(cls, path: Path) -> "Components":
        stored = np.load(path)
        return cls(stored["mean"], stored["basis"], stored["scale"])
