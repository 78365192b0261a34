"""The contact sheets and the word list of the model card.

    python card.py --model work/out/fraise-1 --out ../fraise-1
"""

import argparse
import json
from pathlib import Path

import torch

from export import RECOMMENDED
from sample import Painter
from scenes import Scene, is_held_out
from sheet import save_sheet
from words import COLOURS, COUNTS, MANNERS, PLACES, POSITIONS, SIZES, THINGS

# The scene beside each prompt only tells whether training ever rendered the combination.
PROMPTS = [
    ("a strawberry island under a starry sky", Scene("strawberry", island=True, place="starry")),
    ("星空下的草莓小岛", Scene("strawberry", island=True, place="starry")),
    ("an apple island", Scene("apple", island=True)),
    ("a fox in the forest", Scene("fox", place="forest")),
    ("雪地里的企鹅", Scene("penguin", place="snow")),
    ("a banana island", Scene("banana", island=True)),
    ("a castle island", Scene("castle", island=True)),
    ("仙人掌小岛", Scene("cactus", island=True)),
    ("a cactus in the desert", Scene("cactus", place="desert")),
    ("a rocket in the desert", Scene("rocket", place="desert")),
    ("太空中的火箭", Scene("rocket", place="space")),
    ("a tulip island", Scene("tulip", island=True)),
    ("a blue butterfly on a yellow background", Scene("butterfly", colour="blue", sheet="yellow")),
    ("黄色背景上的紫色的猫", Scene("cat", colour="purple", sheet="yellow")),
    ("a bear island under a starry sky", Scene("bear", island=True, place="starry")),
    ("夕阳下的帆船", Scene("sailboat", place="sunset")),
    ("a giant mushroom in a meadow", Scene("mushroom", size="big", place="meadow")),
    ("蛋糕小岛", Scene("cake", island=True)),
    ("a crown island", Scene("crown", island=True)),
    ("星空下的熊猫小岛", Scene("panda", island=True, place="starry")),
    ("a heart in space, neon", Scene("heart", place="space", manner="neon")),
    ("像素画：海上的鲸鱼", Scene("whale", place="sea", manner="pixel")),
    ("a rabbit in a meadow, watercolor", Scene("rabbit", place="meadow", manner="watercolour")),
    ("a football island", Scene("football", island=True)),
    ("a tulip in a meadow, pastel", Scene("tulip", place="meadow", manner="pastel")),
    ("a pencil sketch of a castle", Scene("castle", manner="sketch")),
    ("a rabbit in the clouds", Scene("rabbit", place="clouds")),
    ("an ice cream island", Scene("icecream", island=True)),
    ("雪地里的熊猫", Scene("panda", place="snow")),
    ("星空下的狗小岛", Scene("dog", island=True, place="starry")),
]
ISLAND_MANNERS = ["watercolor", "neon", "pixel art", "paper cut-out", "pencil sketch", "oil painting"]


def words() -> dict:
    """Every word the captions use, by kind, with its names in both languages; the first name is the usual one."""
    rows = [{"id": t.id, "kind": "thing", "en": t.en, "zh": t.zh} for t in THINGS]
    for kind, group in (("place", PLACES), ("colour", COLOURS), ("manner", MANNERS), ("size", SIZES), ("position", POSITIONS)):
        rows += [{"id": w.id, "kind": kind, "en": w.en, "zh": [z.replace(" ", "") for z in w.zh]} for w in group]
    rows += [{"id": str(n), "kind": "count", "en": [en], "zh": [zh]} for n, (en, zh) in COUNTS.items()]
    rows.append({"id": "island", "kind": "form", "en": ["island"], "zh": ["小岛", "岛"]})
    return {"words": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--format", default="webp", choices=("webp", "png", "jpg"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    painter, steps, guidance = Painter(args.model), RECOMMENDED["steps"], RECOMMENDED["guidance"]
    prompts = [text for text, _ in PROMPTS]
    held = {i for i, (_, scene) in enumerate(PROMPTS) if is_held_out(scene)}

    def sheet(name: str, pictures, captions: list[str], columns: int, marked: set[int] = frozenset()) -> None:
        save_sheet(args.out / f"{name}.{args.format}", pictures, captions, columns, marked)

    sheet("prompts", painter.paint(prompts, steps, guidance, seed=0), prompts, 6, held)
    islands = [f"a strawberry island under a starry sky, {m}" for m in ISLAND_MANNERS]
    sheet("manners", painter.paint(islands, steps, guidance, seed=40), [f"…, {m}" for m in ISLAND_MANNERS], 6)
    chosen, counts = prompts[:6], (1, 2, 4, 8, 12, 24)
    pictures = [p for n in counts for p in painter.paint(chosen, n, guidance, seed=0)]
    sheet("steps", pictures, [f"{n}: {text}" for n in counts for text in chosen], 6)
    (args.out / "words.json").write_text(json.dumps(words(), ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
