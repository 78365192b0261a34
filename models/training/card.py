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
    ("a red car on a beach", Scene("car", colour="red", place="beach")),
    ("a fox in the forest", Scene("fox", place="forest")),
    ("雪地里的企鹅", Scene("penguin", place="snow")),
    ("a pumpkin on the sea", Scene("pumpkin", place="sea")),
    ("a castle island", Scene("castle", island=True)),
    ("水下的机器人", Scene("robot", place="underwater")),
    ("a cactus in the desert", Scene("cactus", place="desert")),
    ("a cat in the desert", Scene("cat", place="desert")),
    ("太空中的火箭", Scene("rocket", place="space")),
    ("a hamburger in space", Scene("hamburger", place="space")),
    ("a blue butterfly on a yellow background", Scene("butterfly", colour="blue", sheet="yellow")),
    ("黄色背景上的紫色的猫", Scene("cat", colour="purple", sheet="yellow")),
    ("a bear in the city", Scene("bear", place="city")),
    ("夕阳下的帆船", Scene("sailboat", place="sunset")),
    ("a giant mushroom in a meadow", Scene("mushroom", size="big", place="meadow")),
    ("草地上的城堡", Scene("castle", place="meadow")),
    ("a lighthouse on a beach", Scene("lighthouse", place="beach")),
    ("森林里的章鱼", Scene("octopus", place="forest")),
    ("a heart in space, neon", Scene("heart", place="space", manner="neon")),
    ("像素画：海上的鲸鱼", Scene("whale", place="sea", manner="pixel")),
    ("a rabbit in a meadow, watercolor", Scene("rabbit", place="meadow", manner="watercolour")),
    ("油画：森林里的房子", Scene("house", place="forest", manner="oil")),
    ("a tulip in a meadow, pastel", Scene("tulip", place="meadow", manner="pastel")),
    ("a pencil sketch of a castle", Scene("castle", manner="sketch")),
    ("剪纸：沙滩上的菠萝", Scene("pineapple", place="beach", manner="papercut")),
    ("an ice cream island", Scene("icecream", island=True)),
    ("雪地里的熊猫", Scene("panda", place="snow")),
    ("城市里的公交车", Scene("bus", place="city")),
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
