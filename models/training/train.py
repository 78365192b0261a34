"""Trains the default model: render → autoencoder → denoiser → student → upscaler, scorer → export.

    python train.py --budget 150 --device cpu --processes 2     # minutes in all
    python train.py --budget 25 --device cuda --renders 200000 --processes 16
    python train.py --budget 150 --stages autoencoder upscaler       # on one core, while another trains the denoiser

Every stage keeps its result in --work and checkpoints on the way: run the same command again to resume.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch

import run
from autoencoder import train_autoencoder
from denoiser import Denoiser, load_data, train
from distill import distil
from export import NAME, export
from render import render
from scorer import train_scorer

SHARES = {"autoencoder": 0.23, "denoiser": 0.5, "student": 0.1, "upscaler": 0.07, "scorer": 0.07}  # of the budget
STAGES = ("render", *SHARES, "export")


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
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    work, device, out = args.work, args.device, args.out or args.work / "out" / NAME
    work.mkdir(parents=True, exist_ok=True)

    def minutes(stage: str) -> float:
        return args.budget * SHARES[stage]

    def model(name: str) -> Denoiser:
        """An empty model, or the stored one of that name."""
        fresh = Denoiser(data["vocabulary"], data["end"], data["start"])
        fresh.load_state_dict(torch.load(work / name, map_location="cpu"))
        return fresh

    if "render" in args.stages:
        render(work, "held", 512, seed=900, pictures=512)
        render(work, "renders", args.renders, seed=1, pictures=args.pictures, processes=args.processes)
    if "autoencoder" in args.stages:
        train_autoencoder(work, minutes("autoencoder"), device)
    if "upscaler" in args.stages:  # in a process of its own, whose painter paints larger
        command = [sys.executable, Path(__file__).with_name("upscaler.py"), work, str(minutes("upscaler")), device]
        subprocess.run(command, env=os.environ | {"FRAISE_PAINTER_SIZE": "512"}, check=True)
    data = load_data(work, args.renders)
    if "denoiser" in args.stages:
        run.save(work / "teacher.pt", train(work, data, minutes("denoiser"), device).state_dict())
    if "student" in args.stages:
        run.save(work / "final.pt", distil(work, model("teacher.pt"), data, minutes("student"), device).state_dict())
    if "scorer" in args.stages:
        train_scorer(work, model("teacher.pt").text, data, minutes("scorer"), device)
    if "export" in args.stages:
        export(work / "out" / "teacher", model("teacher.pt"), work)
        run.log(work, f"exported to {export(out, model('final.pt'), work)}")


if __name__ == "__main__":
    main()
