"""Stage 1: scenes → pictures, their latents, and their captions as token ids.

Picture i of seed s is always the same, however many processes paint: each has its own generator, seeded (s, i).
"""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

import tokenizer as bpe
from captions import caption
from icons import load_drawings
from latents import Components
from scenes import Scene, draw_scene, paint

SHARD = 500
CAPTIONS_PER_PICTURE = 6


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


def prepare(work: Path) -> None:
    """What every painting process needs: drawings, components and tokenizer."""
    load_drawings(work)
    fit_components(work)
    if not (work / "tokenizer").exists():
        scenes = [draw_scene(np.random.default_rng((1, i))) for i in range(60000)]
        captions = [caption(s, np.random.default_rng((2, i, k)))[0] for i, s in enumerate(scenes) for k in range(2)]
        bpe.save(work / "tokenizer", captions)


def _render_shard(work: Path, folder: Path, seed: int, numbers: range, keep_pictures: bool) -> None:
    cv2.setNumThreads(1)
    pictures, scenes = paint_many(work, seed, numbers)
    if keep_pictures:
        np.save(folder / f"pictures-{numbers.start:06}.npy", pictures)
    texts = [caption(s, np.random.default_rng((2, i, k)))[1] for i, s in zip(numbers, scenes) for k in range(CAPTIONS_PER_PICTURE)]
    ids = bpe.encode(bpe.load(work / "tokenizer"), texts).short().numpy()
    np.save(folder / f"tokens-{numbers.start:06}.npy", ids.reshape(len(scenes), CAPTIONS_PER_PICTURE, -1))
    (folder / f"scenes-{numbers.start:06}.json").write_text(json.dumps([scene.as_dict() for scene in scenes]))
    fresh = folder / f"{numbers.start:06}.part.npy"
    np.save(fresh, fit_components(work).encode(pictures).astype(np.float16))
    fresh.replace(folder / f"latents-{numbers.start:06}.npy")  # last: a shard with latents is complete


def render(work: Path, name: str, count: int, seed: int, pictures: int, processes: int = 1) -> Path:
    """Renders what is missing of `work/name`, in shards; the first `pictures` are kept as pictures too."""
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    prepare(work)
    starts = [s for s in range(0, count, SHARD) if not (folder / f"latents-{s:06}.npy").exists()]
    with ProcessPoolExecutor(processes, initializer=os.nice, initargs=(10,)) as pool:  # training goes first
        jobs = [pool.submit(_render_shard, work, folder, seed, range(s, min(s + SHARD, count)), s < pictures) for s in starts]
        for job in jobs:
            job.result()
    return folder


def load_latents(folder: Path) -> tuple[np.ndarray, list[Scene]]:
    """Latents, float16 [N, CHANNELS, SIZE / 16, SIZE / 16], and scenes of the shards that are there."""
    paths = sorted(folder.glob("latents-*.npy"))
    rows = [row for p in paths for row in json.loads((folder / f"scenes-{p.stem[8:]}.json").read_text())]
    return np.concatenate([np.load(p) for p in paths]), [Scene(**row) for row in rows]


def load_pictures(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pictures that were kept, uint8 [N, SIZE, SIZE, 3], their latents and their token ids."""
    paths = sorted(folder.glob("pictures-*.npy"))
    paths = [p for p in paths if p.with_name(f"latents-{p.stem[9:]}.npy").exists()]
    kinds = ("pictures", "latents", "tokens")
    return tuple(np.concatenate([np.load(p.with_name(f"{kind}-{p.stem[9:]}.npy")) for p in paths]) for kind in kinds)
