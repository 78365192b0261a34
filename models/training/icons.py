"""Icon sets (iconify JSON: body + width/height per icon) → RGBA pictures, rasterised by resvg."""

import io
import json
import subprocess
import tarfile
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from places import SIZE
from words import HANDS, THINGS

# Noto Emoji: Apache-2.0 (Google). Fluent Emoji flat: MIT (Microsoft). Versions pinned; fetched with `npm pack`.
SETS = {"noto": ("@iconify-json/noto", "1.2.9"), "fluent": ("@iconify-json/fluent-emoji-flat", "1.2.6")}
DRAWING_PX = SIZE


def _fetch(work: Path, name: str) -> dict:
    package, version = SETS[name]
    archive = work / f"{package.strip('@').replace('/', '-')}-{version}.tgz"
    if not archive.exists():
        work.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", f"{package}@{version}"], cwd=work, check=True, capture_output=True)
    with tarfile.open(archive) as tar:
        return json.load(tar.extractfile("package/icons.json"))


def _svg(icon_set: dict, name: str) -> str:
    icon = icon_set["icons"].get(name) or icon_set["icons"][icon_set["aliases"][name]["parent"]]
    w = icon.get("width", icon_set.get("width", 16))
    h = icon.get("height", icon_set.get("height", 16))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {w} {h}" width="{w}" height="{h}">{icon["body"]}</svg>'
    )


def _rasterise(svg: str) -> np.ndarray:
    """RGBA uint8 [DRAWING_PX, DRAWING_PX, 4]."""
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=DRAWING_PX, height=DRAWING_PX))
    return np.asarray(_square(Image.open(io.BytesIO(png)).convert("RGBA")))


def _square(drawing: Image.Image) -> Image.Image:
    """Crops the empty margin, so that sizes in a scene mean the drawing itself, and centres it in a square."""
    drawing = drawing.crop(drawing.getbbox())
    side = max(drawing.size)
    out = Image.new("RGBA", (side, side))
    out.paste(drawing, ((side - drawing.width) // 2, (side - drawing.height) // 2))
    return out.resize((DRAWING_PX, DRAWING_PX), Image.LANCZOS)


@cache
def load_drawings(work: Path) -> dict[str, np.ndarray]:
    """Drawing ("set:name") → RGBA uint8 [DRAWING_PX, DRAWING_PX, 4], of both hands; cached in `work`."""
    names = sorted({t.drawing_by(hand) for t in THINGS for hand in (None, *(h.id for h in HANDS))})
    kept = work / f"drawings-{DRAWING_PX}.npz"
    if kept.exists():
        stored = np.load(kept)
        if list(stored["names"]) == names:
            return dict(zip(names, stored["drawings"]))
    sets = {name: _fetch(work, name) for name in SETS}
    icons = [_svg(sets[name.split(":")[0]], name.split(":")[1]) for name in names]
    with ProcessPoolExecutor() as pool:
        drawings = np.stack(list(pool.map(_rasterise, icons, chunksize=16)))
    np.savez(kept, names=names, drawings=drawings)
    return dict(zip(names, drawings))
