"""Stage 1: scenes → pictures, and their latents.

Picture i of seed s is always the same, however many processes paint: each has its own generator, seeded (s, i).
"""

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from icons import load_drawings
from latents import Components
from places import SIZE
from scenes import Scene, draw_scene, paint

SHARD = 1000


def paint_many(work: Path, seed: int, numbers: range) -> tuple[np.ndarray, list[Scene]]:
    """Pictures and scenes of the given numbers."""
    drawings, pictures, scenes = load_drawings(work), [], []
    for i in numbers:
        rng = np.random.default_rng((seed, i))
        scenes.append(draw_scene(rng))
        pictures.append(paint(scenes[-1], rng, drawings))
    return np.stack(pictures), scenes


def fit_components(work: Path, seed: int = 50, count: int = 500) -> Components:
    """The latents' components from `count` pictures of their own; kept in `work/components.npz`."""
    path = work / "components.npz"
    if not path.exists():
        Components.fit(paint_many(work, seed, range(count))[0]).save(path)
    return Components.load(path)


def _render_shard(work: Path, folder: Path, seed: int, numbers: range, keep_pictures: bool) -> None:
    cv2.setNumThreads(1)
    pictures, scenes = paint_many(work, seed, numbers)
    if keep_pictures:
        np.save(folder / f"pictures-{numbers.start:06}.npy", pictures)
    (folder / f"scenes-{numbers.start:06}.json").write_text(json.dumps([scene.as_dict() for scene in scenes]))
    fresh = folder / f"{numbers.start:06}.part.npy"
    np.save(fresh, fit_components(work).encode(pictures).astype(np.float16))
    fresh.replace(folder / f"latents-{numbers.start:06}.npy")  # last: a shard with latents is complete


def render(work: Path, name: str, count: int, seed: int, pictures: int, processes: int = 1) -> Path:
    """Renders what is missing of `work/name`, in shards; the first `pictures` are kept as pictures too."""
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    fit_components(work)
    starts = [s for s in range(0, count, SHARD) if not (folder / f"latents-{s:06}.npy").exists()]
    with ProcessPoolExecutor(processes) as pool:
        jobs = [pool.submit(_render_shard, work, folder, seed, range(s, min(s + SHARD, count)), s < pictures) for s in starts]
        for job in jobs:
            job.result()
    return folder


def load_latents(folder: Path) -> tuple[np.ndarray, list[Scene]]:
    """Latents, float16 [N, CHANNELS, 8, 8], and scenes of the shards that are there."""
    paths = sorted(folder.glob("latents-*.npy"))
    rows = [row for p in paths for row in json.loads((folder / f"scenes-{p.stem[8:]}.json").read_text())]
    return np.concatenate([np.load(p) for p in paths]), [Scene(**row) for row in rows]


def load_pictures(folder: Path) -> np.ndarray:
    """uint8 [N, SIZE, SIZE, 3], the pictures that were kept, in the order of the latents."""
    return np.concatenate([np.load(p) for p in sorted(folder.glob("pictures-*.npy"))])
