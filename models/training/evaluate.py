"""How often the pictures show what the prompt says, told by a judge that was trained on renders alone.

    python evaluate.py --model work/out/fraise-1 --work work --minutes 7

The judge is a small classifier (thing, place, colour, manner) trained on *separate* renders, a quarter of them passed
through the autoencoder, with blur and noise. Its own accuracy on renders of the very scenes that are asked for, through the
autoencoder too, is the ceiling that stands beside each rate. Prints a table and writes it to WORK/evaluation.json.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import run
from autoencoder import to_pixels
from captions import caption
from export import RECOMMENDED
from icons import load_drawings
from sample import Painter
from render import fit_components, picture
from scenes import Scene, draw_scene, is_held_out
from words import COLOURS, MANNERS, PLACES, THINGS

LABELS = {
    "thing": [t.id for t in THINGS],
    "place": ["sheet", "island", "island at night", *(p.id for p in PLACES)],
    "colour": ["own", *(c.id for c in COLOURS)],
    "manner": ["none", *(m.id for m in MANNERS)],
}
_SIDE = 64
JUDGE_RENDERS = 9000


def labels(scene: Scene) -> dict[str, int]:
    place = ("island at night" if scene.place else "island") if scene.island else scene.place or "sheet"
    said = {"thing": scene.thing, "place": place, "colour": scene.colour or "own", "manner": scene.manner or "none"}
    return {kind: LABELS[kind].index(value) for kind, value in said.items()}


def is_simple(scene: Scene) -> bool:
    """One thing in the middle: the scenes that are judged."""
    return scene.count == 1 and not scene.second and not scene.position and scene.size != "small"


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        plan = ((12, 48, 1), (48, 80, 2), (80, 128, 2), (128, 128, 1), (128, 192, 2), (192, 192, 1))
        self.body = nn.Sequential(*(
            layer for i, o, stride in plan for layer in (nn.Conv2d(i, o, 3, stride, 1), nn.GroupNorm(8, o), nn.SiLU())
        ))  # fmt: skip
        self.heads = nn.ModuleDict({kind: nn.Linear(2 * 192, len(names)) for kind, names in LABELS.items()})

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        h = self.body(F.pixel_unshuffle(pixels, 2))
        h = torch.cat([h.mean((2, 3)), h.amax((2, 3))], 1)
        return {kind: head(h) for kind, head in self.heads.items()}


def small(pictures: np.ndarray) -> np.ndarray:
    return np.stack([cv2.resize(p, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for p in pictures])


def through_autoencoder(work: Path, painter: Painter, pictures: np.ndarray) -> np.ndarray:
    latents = torch.from_numpy(fit_components(work).encode(pictures))
    with torch.autocast("cpu", torch.bfloat16):
        return np.concatenate([painter.decode(part) for part in latents.split(50)])


def train_judge(work: Path, painter: Painter, drawings: dict, minutes: float) -> Judge:
    """Trains (or loads) `work/judge.pt`."""
    judge, path = Judge().to(memory_format=torch.channels_last), work / "judge.pt"
    if path.exists():
        judge.load_state_dict(torch.load(path))
        return judge.eval()
    torch.manual_seed(5)
    pictures, targets = [], []
    for start in range(0, JUDGE_RENDERS, 200):
        rngs = [np.random.default_rng((77, start + i)) for i in range(200)]
        scenes = [draw_scene(rng, is_simple) for rng in rngs]
        painted = np.stack([picture(scene, rng, drawings) for scene, rng in zip(scenes, rngs)])
        painted[:50] = through_autoencoder(work, painter, painted[:50])
        pictures.append(small(painted))
        targets += [labels(scene) for scene in scenes]
    pictures = np.concatenate(pictures)
    targets = {kind: torch.tensor([t[kind] for t in targets]) for kind in LABELS}
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.02, foreach=True)
    clock, rng, step = run.Clock(minutes), np.random.default_rng(6), 0
    while clock.fraction < 1:
        optimizer.param_groups[0]["lr"] = run.learning_rate(2e-3, step, clock.fraction, 50, 0.3)
        pick = rng.integers(len(pictures), size=48)
        x = to_pixels(pictures[pick], "cpu")
        x = x + 0.08 * torch.rand(48, 1, 1, 1) * torch.randn_like(x)
        if rng.random() < 0.3:
            x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        x = torch.roll(x, tuple(int(v) for v in rng.integers(-3, 4, 2)), (2, 3))
        with torch.autocast("cpu", torch.bfloat16):
            output = judge(x.contiguous(memory_format=torch.channels_last))
        loss = sum(F.cross_entropy(output[kind].float(), targets[kind][pick]) for kind in LABELS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 200 == 0:
            run.log(work, f"judge step {step} loss {loss.item():.3f} {clock.seconds:.0f} s")
    torch.save(judge.state_dict(), path)
    return judge.eval()


@torch.no_grad()
def rates(judge: Judge, pictures: np.ndarray, scenes: list[Scene]) -> dict[str, float]:
    output = judge(to_pixels(small(pictures), "cpu"))
    truth = [labels(scene) for scene in scenes]
    return {kind: float(np.mean([int(o) == t[kind] for o, t in zip(output[kind].argmax(1), truth)])) for kind in LABELS}


def asked_for(kind: str, held: bool, count: int) -> list[Scene]:
    """Scenes of one thing with a place, a colour on a plain sheet, a manner in a place, or an island."""
    wanted = {
        "place": lambda s: s.place and not (s.island or s.colour or s.manner or s.size),
        "colour": lambda s: s.colour and not (s.place or s.island or s.manner or s.size),
        "manner": lambda s: s.manner and s.place and not (s.island or s.colour or s.size),
        "island": lambda s: s.island and not (s.colour or s.manner or s.size),
    }[kind]
    rng = np.random.default_rng((8, list(LABELS).index(kind) if kind in LABELS else 9, int(held)))
    return [
        draw_scene(rng, lambda s: is_simple(s) and bool(wanted(s)) and is_held_out(s) == held) for _ in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--minutes", type=float, default=7, help="training time of the judge")
    parser.add_argument("--count", type=int, default=96, help="prompts of each kind, half English, half Chinese")
    parser.add_argument("--judge-only", action="store_true", help="train the judge and stop")
    parser.add_argument("--steps", type=int, default=RECOMMENDED["steps"])
    parser.add_argument("--guidance", type=float, default=RECOMMENDED["guidance"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    painter, drawings = Painter(args.model), load_drawings(args.work)
    judge = train_judge(args.work, painter, drawings, args.minutes)
    if args.judge_only:
        return
    table, languages = [], {"en": [], "zh": []}
    for kind in ("place", "colour", "manner", "island"):
        for held in (False, True):
            start, rng = time.monotonic(), np.random.default_rng(10)
            scenes = asked_for(kind, held, args.count)
            spoken = ["en" if i % 2 == 0 else "zh" for i in range(len(scenes))]
            prompts = [caption(scene, rng, language)[1] for scene, language in zip(scenes, spoken)]
            painted = painter.paint(prompts, args.steps, args.guidance, seed=100)
            rate = rates(judge, painted, scenes)
            real = np.stack([picture(scene, np.random.default_rng((9, i)), drawings) for i, scene in enumerate(scenes)])
            ceiling = rates(judge, through_autoencoder(args.work, painter, real), scenes)
            for language in languages:
                mine = [i for i, s in enumerate(spoken) if s == language]
                languages[language].append(rates(judge, painted[mine], [scenes[i] for i in mine])["thing"])
            table.append({"kind": kind, "held_out": held, "rate": rate, "ceiling": ceiling})
            cells = "  ".join(f"{k} {rate[k]:.2f}/{ceiling[k]:.2f}" for k in LABELS)
            seconds = time.monotonic() - start
            run.log(args.work, f"{kind:7} {'held out' if held else 'trained ':8}  {cells}  ({seconds:.0f} s)")
    summary = {
        "steps": args.steps, "guidance": args.guidance, "prompts_per_kind": args.count, "table": table,
        "thing_rate_by_language": {language: float(np.mean(values)) for language, values in languages.items()},
    }  # fmt: skip
    run.log(args.work, f"things, by language: {summary['thing_rate_by_language']}")
    (args.work / "evaluation.json").write_text(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
