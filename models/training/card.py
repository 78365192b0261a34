"""The contact sheets and the word list of the model card.

    python card.py --model work/quantized --float work/out/fraise-1 --out ../fraise-1
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from export import RECOMMENDED
from sample import Painter
from scenes import Scene, is_held_out
from sheet import save_sheet
from words import CATEGORIES, COLOURS, COUNTS, HANDS, MANNERS, PLACES, POSITIONS, RELATIONS, SIZES, THINGS

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
    ("夕阳下的帆船", Scene("sailboat", place="sunset")),
    ("a giant mushroom in a meadow", Scene("mushroom", size="big", place="meadow")),
    ("星空下的熊猫小岛", Scene("panda", island=True, place="starry")),
    ("a heart in space, neon", Scene("heart", place="space", manner="neon")),
    ("像素画：海上的鲸鱼", Scene("whale", place="sea", manner="pixel")),
    ("a rabbit in a meadow, watercolor", Scene("rabbit", place="meadow", manner="watercolour")),
    ("a pencil sketch of a castle", Scene("castle", manner="sketch")),
    ("two cats on the grass", Scene("cat", count=2, place="meadow")),
    ("三个苹果", Scene("apple", count=3)),
    ("a rocket to the left of a planet in space", Scene("rocket", second="planet", relation="left", place="space")),
    ("戴着礼帽的狗", Scene("dog", second="tophat", relation="wearing")),
    ("a frog on top of a mushroom in the woods", Scene("frog", second="mushroom", relation="on", place="forest")),
    ("a giraffe in a city, stained glass", Scene("giraffe", place="city", manner="glass")),
    ("海底的水母", Scene("jellyfish", place="underwater")),
    ("a peacock in a forest, oil painting", Scene("peacock", place="forest", manner="oil")),
    ("a violin on a red background", Scene("violin", sheet="red")),
    ("一辆红色的自行车在海滩上", Scene("bicycle", colour="red", place="beach")),
    ("a dragon in a lava landscape, comic", Scene("dragon", place="lava", manner="comic")),
    ("an astronaut on the moon", Scene("astronaut", place="moonscape")),
    ("极光下的狼", Scene("wolf", place="aurora")),
    ("a mermaid in a cave", Scene("mermaid", place="cave")),
    ("花园里的女孩", Scene("girl", place="garden")),
    ("A wizard and a black cat, autumn forest.", Scene("wizard", second="blackcat", place="autumn")),
    ("a cat and a dog on a blue background", Scene("cat", second="dog", sheet="blue")),
    ("a cat and a dog on a blue background without dog", Scene("cat", sheet="blue")),
    ("雨中的青蛙和蘑菇 without 蘑菇", Scene("frog", place="rain")),
    ("城市夜景", Scene(None, place="nightcity")),
    ("a fruit on a white background", Scene("apple", sheet="white")),
]
ISLAND = "a strawberry island under a starry sky"
FIVE = ("watercolour", "neon", "papercut", "pixel", "glass")  # manners that the README shows the island in
STEPS = (1, 2, 4, 8, 20)


def words() -> dict:
    """Every word the captions use, by kind, with its names in both languages; the first name is the usual one."""
    rows = [{"id": t.id, "kind": "thing", "en": t.en, "zh": t.zh} for t in THINGS]
    named = {name for t in THINGS for name in (*t.en, *t.zh)}
    rows += [{"id": f"any-{c.id}", "kind": "thing", "en": c.en, "zh": c.zh} for c in CATEGORIES if not named & {*c.en, *c.zh}]
    for kind, group in (("place", PLACES), ("colour", COLOURS), ("manner", MANNERS), ("size", SIZES), ("position", POSITIONS),
                        ("relation", RELATIONS), ("hand", HANDS)):  # fmt: skip
        rows += [{"id": w.id, "kind": kind, "en": w.en, "zh": [z.replace(" ", "") for z in w.zh]} for w in group]
    rows += [{"id": str(n), "kind": "count", "en": [en], "zh": [zh]} for n, (en, zh) in COUNTS.items()]
    rows.append({"id": "island", "kind": "form", "en": ["island"], "zh": ["小岛", "岛"]})
    return {"words": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the pack's numbers (unpack.py)")
    parser.add_argument("--float", type=Path, required=True, help="the same before quantization")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    painter, steps, guidance = Painter(args.model), RECOMMENDED["steps"], RECOMMENDED["guidance"]
    prompts = [text for text, _ in PROMPTS]
    held = {i for i, (_, scene) in enumerate(PROMPTS) if is_held_out(scene)}

    def sheet(name: str, pictures, captions: list[str], columns: int, marked: set[int] = frozenset()) -> None:
        save_sheet(args.out / f"{name}.webp", pictures, captions, columns, marked)

    sheet("prompts", painter.paint(prompts, steps, guidance, seed=0, upscale=True), prompts, 6, held)
    islands = [ISLAND, *(f"{ISLAND}, {m.en[0]}" for m in MANNERS)]
    captions = [ISLAND, *(f"…, {m.en[0]}" for m in MANNERS)]
    held_manners = {i + 1 for i, m in enumerate(MANNERS) if is_held_out(Scene("strawberry", island=True, place="starry", manner=m.id))}
    sheet("manners", painter.paint(islands, steps, guidance, seed=40, upscale=True), captions, 5, held_manners)
    five = [m.en[0] for m in MANNERS if m.id in FIVE]
    sheet("island", painter.paint([f"{ISLAND}, {name}" for name in five], steps, guidance, seed=1, upscale=True), five, 5)
    chosen = prompts[:6]
    pictures = [p for n in STEPS for p in painter.paint(chosen, n, guidance, seed=0)]
    sheet("steps", pictures, [f"{n}: {text}" for n in STEPS for text in chosen], 6)
    exact = Painter(args.float).paint(chosen, steps, guidance, seed=0)
    rounded = painter.paint(chosen, steps, guidance, seed=0)
    difference = [np.clip(128 + 8 * (a.astype(int) - b), 0, 255).astype(np.uint8) for a, b in zip(rounded, exact)]
    labels = [f"{kind}: {text}" for kind in ("float", "pack", "difference x 8") for text in chosen]
    sheet("quantization", [*exact, *rounded, *difference], labels, 6)
    (args.out / "words.json").write_text(json.dumps(words(), ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
