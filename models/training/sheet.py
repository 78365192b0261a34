"""Contact sheets: pictures in a grid with their captions (Chinese needs a CJK font; without one, boxes appear)."""

import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSerifCJK-Regular.ttc", "NotoSerifCJK-Bold.ttc", "DejaVuSans.ttf")


def _font(size: int):
    for name in _FONTS:
        for folder in ("/usr/share/fonts/opentype/noto", "/usr/share/fonts/truetype/dejavu"):
            if (Path(folder) / name).exists():
                return ImageFont.truetype(str(Path(folder) / name), size)
    return ImageFont.load_default(size)


def _lines(text: str) -> list[str]:
    if any(ord(c) > 0x2E80 for c in text):
        return [text[i : i + 11] for i in range(0, len(text), 11)]
    return textwrap.wrap(text, 22)


def save_sheet(path: Path, pictures, captions: list[str], columns: int = 6, marked: set[int] = frozenset()) -> None:
    """Pictures are uint8 [H, W, 3]; the captions at the indices in `marked` are red (held-out combinations)."""
    font, side = _font(11), pictures[0].shape[0]
    width, height = side + 8, side + 36
    rows = (len(pictures) + columns - 1) // columns
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (picture, text) in enumerate(zip(pictures, captions)):
        x, y = i % columns * width + 4, i // columns * height + 4
        sheet.paste(Image.fromarray(np.asarray(picture)), (x, y))
        for k, line in enumerate(_lines(text)[:2]):
            draw.text((x, y + side + 1 + 14 * k), line, font=font, fill="#c02020" if i in marked else "#202020")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=88)
