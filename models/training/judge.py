"""A classifier that says what a picture shows, trained on renders alone, separate from the model's: the measure of prompts.

It sees pictures at 64x64, blurred and noised at random, never one that a model made. What it reaches on real renders of the
very scenes that are asked for, passed through the model's autoencoder, is the ceiling of each rate.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import run
from autoencoder import to_pixels
from icons import load_drawings
from scenes import Scene, draw_scene, paint
from words import COLOURS, MANNERS, PLACES, THINGS

LABELS = {
    "thing": [t.id for t in THINGS],
    "second": ["none", *(t.id for t in THINGS)],
    "place": ["sheet", "island", "island at night", *(p.id for p in PLACES)],
    "colour": ["own", *(c.id for c in COLOURS)],
    "manner": ["none", *(m.id for m in MANNERS)],
    "layout": ["one", "two", "three", "four", "beside", "on", "wearing", "left", "right"],
}
SIDE, BATCH, RENDERS, WIDTH = 64, 64, 24000, 256


def labels(scene: Scene) -> dict[str, int]:
    """The true class of each kind."""
    place = ("island at night" if scene.place else "island") if scene.island else scene.place or "sheet"
    if scene.second:
        layout = "beside" if scene.relation in (None, "left") else scene.relation
    else:
        layout = scene.position or LABELS["layout"][scene.count - 1]
    said = {"thing": scene.thing, "second": scene.second or "none", "place": place, "colour": scene.colour or "own",
            "manner": scene.manner or "none", "layout": layout}  # fmt: skip
    return {kind: LABELS[kind].index(value) for kind, value in said.items()}


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        plan = ((12, 48, 1), (48, 96, 2), (96, 160, 2), (160, 160, 1), (160, WIDTH, 2), (WIDTH, WIDTH, 1))
        self.body = nn.Sequential(*(
            layer for i, o, stride in plan for layer in (nn.Conv2d(i, o, 3, stride, 1), nn.GroupNorm(8, o), nn.SiLU())
        ))  # fmt: skip
        self.heads = nn.ModuleDict({kind: nn.Linear(18 * WIDTH, len(names)) for kind, names in LABELS.items()})

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N, 3, SIDE, SIDE] in [-1, 1] → means and maxima of a 3x3 grid, so that it can tell where things are."""
        h = self.body(F.pixel_unshuffle(pixels, 2))
        return torch.cat([F.adaptive_avg_pool2d(h, 3).flatten(1), F.adaptive_max_pool2d(h, 3).flatten(1)], 1)

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        h = self.features(pixels)
        return {kind: head(h) for kind, head in self.heads.items()}

    @torch.no_grad()
    def says(self, pictures: np.ndarray) -> dict[str, np.ndarray]:
        """The most likely class of each kind for pictures uint8 [N, H, W, 3]."""
        parts = [self(to_pixels(part, "cpu")) for part in np.array_split(small(pictures), len(pictures) // 100 + 1)]
        return {kind: torch.cat([part[kind] for part in parts]).argmax(1).numpy() for kind in LABELS}


def small(pictures: np.ndarray) -> np.ndarray:
    return np.stack([cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for p in pictures])


def train_judge(work: Path, minutes: float) -> Judge:
    """Trains (or loads) `work/judge-final.pt`."""
    torch.manual_seed(5)
    judge, path = Judge().to(memory_format=torch.channels_last), work / "judge-final.pt"
    if path.exists():
        judge.load_state_dict(torch.load(path))
        return judge.eval()
    pictures, truth, drawings = [], [], load_drawings(work)
    for i in range(RENDERS):
        rng = np.random.default_rng((77, i))
        scene = draw_scene(rng, lambda s: True)
        pictures.append(small(paint(scene, rng, drawings)[None])[0])
        truth.append(labels(scene))
    pictures = np.stack(pictures)
    targets = {kind: torch.tensor([t[kind] for t in truth]) for kind in LABELS}

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(pictures), (BATCH,), generator=generator)
        x = to_pixels(pictures[pick.numpy()], "cpu")
        x = x + 0.1 * torch.rand(BATCH, 1, 1, 1, generator=generator) * torch.randn(x.shape, generator=generator)
        for blur in (3, 5):
            if torch.rand((), generator=generator) < 0.3:
                x = F.avg_pool2d(F.pad(x, (blur // 2,) * 4, mode="replicate"), blur, 1)
        x = torch.roll(x, torch.randint(-3, 4, (2,), generator=generator).tolist(), (2, 3))
        with torch.autocast("cpu", torch.bfloat16):
            output = judge(x.contiguous(memory_format=torch.channels_last))
        return sum(F.cross_entropy(output[kind].float(), targets[kind][pick], label_smoothing=0.05) for kind in LABELS)

    mean = run.fit(work, "judge", judge, loss_of, minutes, BATCH, (4e-3, 1.5e-3), ("body.0.", "heads"), slowest=0.99)
    run.save(path, mean.state_dict())
    return mean


def rates(judge: Judge, pictures: np.ndarray, scenes: list[Scene]) -> dict[str, float]:
    """The share of pictures whose most likely class is the scene's, for each kind."""
    said, truth = judge.says(pictures), [labels(scene) for scene in scenes]
    return {kind: float(np.mean(said[kind] == [t[kind] for t in truth])) for kind in LABELS}


@torch.no_grad()
def frechet(judge: Judge, a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between two sets of pictures in the judge's globally pooled features (mean over its grid)."""

    def moments(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [judge.body(F.pixel_unshuffle(to_pixels(p, "cpu"), 2)).mean((2, 3)) for p in np.array_split(small(pictures), 10)]
        h = torch.cat(parts).double().numpy()
        return h.mean(0), np.cov(h.T)

    (mean_a, cov_a), (mean_b, cov_b) = moments(a), moments(b)
    values = np.linalg.eigvals(cov_a @ cov_b).real.clip(0)
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(values).sum())


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    train_judge(Path(sys.argv[1]), float(sys.argv[2]))
