"""How often the pictures show what the prompt says, how far they are from renders, and whether they are copies.

    python unpack.py --pack ../fraise-1 --out work/quantized                # the numbers that visitors get
    python evaluate.py --model work/quantized --float work/out/fraise-1 --teacher work/out/teacher

Prints rows and writes WORK/evaluation.json. Beside each rate stands its ceiling: what the judge (`judge.py`) says of real
renders of the same scenes, passed through the autoencoder.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch

import run
from captions import caption, unseen_wording
from export import PACK, RECOMMENDED
from icons import load_drawings
from judge import LABELS, Judge, frechet, load_judge, rates
from render import fit_components, load_latents
from sample import Painter
from scenes import Scene, draw_scene, is_held_out, paint
from words import THING

KINDS = {  # what is asked for: a condition on scenes
    "place": lambda s: s.thing and s.place and _alone(s) and not (s.island or s.colour or s.manner),
    "colour": lambda s: s.colour and _alone(s) and not (s.place or s.island or s.manner),
    "manner": lambda s: s.thing and s.manner and s.place and _alone(s) and not (s.island or s.colour),
    "island": lambda s: s.thing and s.island and not (s.colour or s.manner),
    "count": lambda s: s.count in (2, 3) and not (s.colour or s.manner),
    "relation": lambda s: s.second and not (s.colour or s.manner),
}
STEPS = (1, 2, 4, 8, 20)


def _alone(scene: Scene) -> bool:
    return scene.count == 1 and not (scene.second or scene.position or scene.size or scene.hand)


def asked_for(kind: str, held: bool, count: int) -> list[Scene]:
    """Scenes of a kind, all held out or all of trained combinations."""
    rng = np.random.default_rng((8, list(KINDS).index(kind), int(held)))
    return [draw_scene(rng, lambda s: bool(KINDS[kind](s)) and is_held_out(s) == held) for _ in range(count)]


def prompts_of(scenes: list[Scene], seed: int = 10, wording=caption) -> list[str]:
    """Every other one in English and in Chinese, without typing errors."""
    rng = np.random.default_rng(seed)
    return [wording(scene, rng, ("en", "zh")[i % 2])[1] for i, scene in enumerate(scenes)]


class Evaluation:
    def __init__(self, work: Path, painter: Painter, judge: Judge, guidance: float):
        self.work, self.painter, self.judge, self.guidance = work, painter, judge, guidance
        self.drawings, self.components = load_drawings(work), fit_components(work)

    def renders(self, scenes: list[Scene]) -> np.ndarray:
        return np.stack([paint(scene, np.random.default_rng((9, i)), self.drawings) for i, scene in enumerate(scenes)])

    def through_autoencoder(self, pictures: np.ndarray) -> np.ndarray:
        latents = torch.from_numpy(self.components.encode(pictures))
        return np.concatenate([self.painter.decode(part) for part in latents.split(50)])

    def row(self, name: str, scenes: list[Scene], prompts: list[str], steps: int, painter: Painter | None = None,
            guidance: float | None = None) -> dict:  # fmt: skip
        start = time.monotonic()
        painted = (painter or self.painter).paint(prompts, steps, guidance or self.guidance, seed=100)
        rate = rates(self.judge, painted, scenes)
        by_language = [rates(self.judge, painted[k::2], scenes[k::2])["thing"] for k in (0, 1)]
        ceiling = rates(self.judge, self.through_autoencoder(self.renders(scenes)), scenes)
        cells = "  ".join(f"{kind} {rate[kind]:.2f}/{ceiling[kind]:.2f}" for kind in LABELS)
        run.log(self.work, f"{name:34} {cells}  en {by_language[0]:.2f} zh {by_language[1]:.2f} ({time.monotonic() - start:.0f} s)")
        return {"name": name, "steps": steps, "prompts": len(prompts), "rate": rate, "ceiling": ceiling, "thing_en_zh": by_language}

    def nearest(self, pictures: np.ndarray) -> np.ndarray:
        """Root mean square distance in latents from each picture to the nearest of all training pictures."""
        train = load_latents(self.work / "renders")[0]
        train = train.reshape(len(train), -1)
        queries = self.components.encode(pictures).reshape(len(pictures), -1).astype(np.float32)
        best = np.full(len(queries), np.inf, np.float32)
        for start in range(0, len(train), 4000):
            part = train[start : start + 4000].astype(np.float32)
            squares = (queries**2).sum(1)[:, None] + (part**2).sum(1)[None] - 2 * queries @ part.T
            best = np.minimum(best, squares.min(1))
        return np.sqrt(best.clip(0) / queries.shape[1])


    def without(self, count: int, steps: int) -> dict[str, dict[str, float]]:
        """How often the judge sees each of two things that a prompt names, as it is and with the second to be left out."""
        scenes = [s for s in asked_for("relation", False, 3 * count) if s.relation in (None, "left")][:count]
        out = {}
        for name, phrase in (("both", None), ("without the second", PACK["negative_phrase"])):
            prompts = [text if phrase is None else text + phrase + _name(scene.second, k)
                       for k, (scene, text) in enumerate(zip(scenes, prompts_of(scenes)))]  # fmt: skip
            said = self.judge.says(self.painter.paint(prompts, steps, self.guidance, seed=100))
            seen = {kind: np.array([[LABELS["thing"].index(getattr(s, kind))] for s in scenes]) for kind in ("thing", "second")}
            shown = np.stack([said["thing"], said["second"]], 1)
            out[name] = {kind: float((shown == truth).any(1).mean()) for kind, truth in seen.items()}
        return out


def _name(thing: str, k: int) -> str:
    """In English and Chinese by turns, as `prompts_of` takes them."""
    return (THING[thing].en, THING[thing].zh)[k % 2][0]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over pictures, in dB."""
    return float(np.mean([cv2.PSNR(x, y) for x, y in zip(a, b)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the folder that is judged")
    parser.add_argument("--float", type=Path, help="the same before quantization, for the difference")
    parser.add_argument("--teacher", type=Path, help="the folder before distillation, for 20 steps with guidance")
    parser.add_argument("--teacher-guidance", type=float, default=2.5)
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--count", type=int, default=96, help="prompts of each kind, half English, half Chinese")
    parser.add_argument("--steps", type=int, default=RECOMMENDED["steps"])
    parser.add_argument("--guidance", type=float, default=RECOMMENDED["guidance"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    painter = Painter(args.model)
    evaluation = Evaluation(args.work, painter, load_judge(args.work), args.guidance)
    table = []
    for kind in KINDS:
        for held in (False, True):
            scenes = asked_for(kind, held, args.count)
            name = f"{kind}, {'held out' if held else 'trained'}"
            table.append(evaluation.row(name, scenes, prompts_of(scenes), args.steps))
    mixed = [scene for kind in KINDS for scene in asked_for(kind, True, args.count)[: args.count // 3]]
    table.append(evaluation.row("held out, unseen wordings", mixed, prompts_of(mixed, wording=unseen_wording), args.steps))
    prompts = prompts_of(mixed)
    for steps in STEPS:
        table.append(evaluation.row(f"held out, {steps} steps", mixed, prompts, steps))
    if args.teacher:
        teacher = Painter(args.teacher)
        table.append(evaluation.row("held out, teacher, 20 steps, guided", mixed, prompts, 20, teacher, args.teacher_guidance))
    summary = {"steps": args.steps, "guidance": args.guidance, "table": table}
    summary["without"] = evaluation.without(args.count, args.steps)
    painted = painter.paint(prompts, args.steps, args.guidance, seed=100)
    if args.float:
        exact = Painter(args.float).paint(prompts, args.steps, args.guidance, seed=100)
        summary["quantized_psnr"] = psnr(painted, exact)
    renders = evaluation.renders(mixed)
    summary["nearest"] = {
        "painted": np.percentile(evaluation.nearest(painted), (1, 50)).tolist(),
        "held-out renders": np.percentile(evaluation.nearest(renders), (1, 50)).tolist(),
    }
    rng = np.random.default_rng(11)
    fair = [draw_scene(rng) for _ in range(2 * len(mixed))]
    many = evaluation.renders(fair)
    own = painter.paint(prompts_of(fair[: len(mixed)]), args.steps, args.guidance, seed=100)
    summary["frechet"] = {
        "painted": frechet(evaluation.judge, own, many[len(mixed) :]),
        "renders through the autoencoder": frechet(
            evaluation.judge, evaluation.through_autoencoder(many[: len(mixed)]), many[len(mixed) :]
        ),
        "renders": frechet(evaluation.judge, many[: len(mixed)], many[len(mixed) :]),
    }
    for key in ("without", "quantized_psnr", "nearest", "frechet"):
        run.log(args.work, f"{key}: {summary.get(key)}")
    (args.work / "evaluation.json").write_text(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
