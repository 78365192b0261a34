"""A classifier that says what a picture shows, trained on renders alone, separate from the model's: the measure of prompts.

It sees pictures at 64x64, blurred and noised at random, never one that a model made. What it reaches on real renders of the
very scenes that are asked for, passed through the model's autoencoder, is the ceiling of each rate.
"""

from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
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
    "thing": ["none", *(t.id for t in THINGS)],
    "second": ["none", *(t.id for t in THINGS)],
    "place": ["sheet", "island", "island at night", *(p.id for p in PLACES)],
    "colour": ["own", *(c.id for c in COLOURS)],
    "manner": ["none", *(m.id for m in MANNERS)],
    "layout": ["one", "two", "three", "four", "beside", "on", "wearing", "left", "right", "nothing"],
}
SIDE, WIDTH = 64, 256
BATCH = {"cpu": 64, "cuda": 384}
RENDERS, PART = 48000, 500


def labels(scene: Scene) -> dict[str, int]:
    """The true class of each kind."""
    place = ("island at night" if scene.place else "island") if scene.island else scene.place or "sheet"
    if scene.thing is None:
        layout = "nothing"
    elif scene.second:
        layout = "beside" if scene.relation in (None, "left") else scene.relation
    else:
        layout = scene.position or LABELS["layout"][scene.count - 1]
    said = {"thing": scene.thing or "none", "second": scene.second or "none", "place": place, "colour": scene.colour or "own",
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


def _paint_part(work: Path, numbers: range) -> tuple[np.ndarray, list[dict[str, int]]]:
    """Renders of scenes of all combinations, reduced, and their labels."""
    cv2.setNumThreads(1)
    pictures, truth, drawings = [], [], load_drawings(work)
    for i in numbers:
        rng = np.random.default_rng((77, i))
        scene = draw_scene(rng, lambda s: True)
        pictures.append(small(paint(scene, rng, drawings)[None])[0])
        truth.append(labels(scene))
    return np.stack(pictures), truth


def load_judge(work: Path) -> Judge:
    judge = Judge().to(memory_format=torch.channels_last)
    judge.load_state_dict(torch.load(work / "judge-final.pt", map_location="cpu"))
    return judge.eval()


def train_judge(work: Path, minutes: float, device: str = "cpu", processes: int = 1) -> None:
    """Trains for `minutes` and writes `work/judge-final.pt`."""
    torch.manual_seed(5)
    load_drawings(work)  # before the processes part, so that they share them
    with ProcessPoolExecutor(processes) as pool:
        parts = list(pool.map(_paint_part, repeat(work), [range(i, i + PART) for i in range(0, RENDERS, PART)]))
    pictures = torch.from_numpy(np.concatenate([part for part, _ in parts])).to(device)
    truth = [row for _, rows in parts for row in rows]
    targets = {kind: torch.tensor([t[kind] for t in truth], device=device) for kind in LABELS}
    judge, batch = Judge().to(device, memory_format=torch.channels_last), BATCH[device]
    random = {"device": device}

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(pictures), (batch,), generator=generator, **random)
        x = to_pixels(pictures[pick], device)
        x = x + 0.1 * torch.rand(batch, 1, 1, 1, generator=generator, **random) * torch.randn(x.shape, generator=generator, **random)
        for blur in (3, 5):
            if torch.rand((), generator=generator, **random) < 0.3:
                x = F.avg_pool2d(F.pad(x, (blur // 2,) * 4, mode="replicate"), blur, 1)
        x = torch.roll(x, torch.randint(-3, 4, (2,), generator=generator, **random).tolist(), (2, 3))
        with torch.autocast(device, torch.bfloat16):
            output = judge(x.contiguous(memory_format=torch.channels_last))
        return sum(F.cross_entropy(output[kind].float(), targets[kind][pick], label_smoothing=0.05) for kind in LABELS)

    mean = run.fit(work, "judge", judge, loss_of, minutes, batch, (4e-3, 1.5e-3), ("body.0.", "heads"), slowest=0.99)
    run.save(work / "judge-final.pt", mean.state_dict())


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

