"""Stage 1: scenes → `pictures.npy` (uint8 [N, SIZE, SIZE, 3]) and `scenes.json`.

Picture i of seed s is always the same, however many processes paint: each has its own generator, seeded (s, i).
"""

import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from icons import load_drawings
from places import SIZE
from scenes import Scene, draw_scene, paint

_CHUNK = 1000


def _render_chunk(folder: Path, work: Path, seed: int, start: int, stop: int) -> list[dict]:
    cv2.setNumThreads(1)
    drawings = load_drawings(work)
    pictures = np.load(folder / "pictures.part.npy", mmap_mode="r+")
    rows = []
    for i in range(start, stop):
        rng = np.random.default_rng((seed, i))
        scene = draw_scene(rng)
        pictures[i] = paint(scene, rng, drawings)
        rows.append(scene.as_dict())
    return rows


def render(work: Path, name: str, count: int, seed: int, processes: int = 1) -> Path:
    """Renders into `work/name` unless that is already complete; returns the folder."""
    folder = work / name
    if (folder / "scenes.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    load_drawings(work)
    np.lib.format.open_memmap(folder / "pictures.part.npy", "w+", np.uint8, (count, SIZE, SIZE, 3)).flush()
    with ProcessPoolExecutor(processes) as pool:
        starts = range(0, count, _CHUNK)
        chunks = [pool.submit(_render_chunk, folder, work, seed, s, min(s + _CHUNK, count)) for s in starts]
        rows = [row for chunk in chunks for row in chunk.result()]
    (folder / "pictures.part.npy").replace(folder / "pictures.npy")
    (folder / "scenes.json").write_text(json.dumps(rows))
    return folder


def load(folder: Path) -> tuple[np.ndarray, list[Scene]]:
    rows = json.loads((folder / "scenes.json").read_text())
    return np.load(folder / "pictures.npy", mmap_mode="r"), [Scene(**row) for row in rows]
