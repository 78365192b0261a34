"""Trains the default model: render → autoencoder, upscaler, judge; denoiser → student, scorer → export.

    python train.py --budget 150                                     # minutes in all, on two cores
    python train.py --budget 9 --device cuda --renders 400000 --pictures 30000 --processes 14

The two halves run side by side, and both begin while the painter still paints. Every stage keeps its result in --work and
checkpoints on the way: run the same command again to resume.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

import run
import tokenizer as bpe
from autoencoder import train_autoencoder
from denoiser import Denoiser, train
from distill import distil
from export import NAME, export
from judge import train_judge
from patch import WEIGHTS
from render import SHARD, prepare, render
from scorer import train_scorer

# Minutes of each stage, as shares of the budget. What follows an arrow above waits for what stands before it.
SHARES = {"autoencoder": 0.2, "upscaler": 0.07, "judge": 0.13, "denoiser": 0.75, "student": 0.19, "scorer": 0.12}
LINES = (("render",), ("autoencoder", "upscaler", "judge"), ("denoiser", "student"), ("scorer",))  # each a process of its own
STAGES = ("render", *SHARES, "export")


def wait_for(path: Path, count: int = 1) -> None:
    """Until `count` files of that name, which may be a pattern, are there."""
    while sum(1 for _ in path.parent.glob(path.name)) < count:
        time.sleep(1)


def run_stages(args: argparse.Namespace) -> None:
    """The stages that were asked for, one after another."""
    work, device, out = args.work, args.device, args.out or args.work / "out" / NAME

    def minutes(stage: str) -> float:
        return args.budget * SHARES[stage]

    def model(name: str) -> Denoiser:
        """The stored model of that name."""
        wait_for(work / name)
        stored = Denoiser(bpe.load(work / "tokenizer"))
        stored.load_state_dict(torch.load(work / name, map_location="cpu"))
        return stored

    if "render" in args.stages:
        render(work, "held", 512, seed=900, pictures=512, processes=args.processes)
        render(work, "renders", args.renders, seed=1, pictures=args.pictures, processes=args.processes)
    if "autoencoder" in args.stages:
        wait_for(work / "renders" / f"latents-{(args.pictures - 1) // SHARD * SHARD:06}.npy")
        train_autoencoder(work, minutes("autoencoder"), device)
    if "upscaler" in args.stages:  # in a process of its own, whose painter paints larger
        command = [sys.executable, Path(__file__).with_name("upscaler.py"), work, str(minutes("upscaler")), device]
        subprocess.run(command, env=os.environ | {"FRAISE_PAINTER_SIZE": "512"}, check=True)
    if "judge" in args.stages:  # for evaluate.py alone
        train_judge(work, minutes("judge"), device, args.processes)
    if "denoiser" in args.stages:
        wait_for(work / "renders" / "latents-*.npy", min(20, args.renders // SHARD))
        run.save(work / "teacher.pt", train(work, minutes("denoiser"), device).state_dict())
    if "student" in args.stages:
        run.save(work / "final.pt", distil(work, model("teacher.pt"), minutes("student"), device).state_dict())
    if "scorer" in args.stages:
        wait_for(work / "vae" / WEIGHTS)
        train_scorer(work, model("teacher.pt").text, minutes("scorer"), device)
    if "export" in args.stages:
        export(work / "out" / "teacher", model("teacher.pt"), work, terminal=None)
        run.log(work, f"exported to {export(out, model('final.pt'), work)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=150, help="minutes of wall clock in all")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--work", type=Path, default=Path("work"), help="renders, checkpoints, logs")
    parser.add_argument("--out", type=Path, help=f"the diffusers folder (default: WORK/out/{NAME})")
    parser.add_argument("--renders", type=int, default=60000)
    parser.add_argument("--pictures", type=int, default=7000, help="renders kept as pictures too, for the autoencoder")
    parser.add_argument("--processes", type=int, default=1, help="painting processes")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch on the CPU")
    parser.add_argument("--stages", nargs="+", choices=STAGES, help="only these, one after another, in this process")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    args.work.mkdir(parents=True, exist_ok=True)
    if args.stages:
        return run_stages(args)
    prepare(args.work)
    lines = [subprocess.Popen([sys.executable, *sys.argv, "--stages", *line]) for line in LINES]
    failed = [line for line, process in zip(LINES, lines) if process.wait()]
    if failed:
        sys.exit(f"these did not end well: {failed}")
    args.stages = ["export"]
    run_stages(args)


if __name__ == "__main__":
    main()
