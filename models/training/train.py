"""Trains the default model from nothing: render → autoencoder → latents → denoiser → decoder again → export.

    python train.py --budget 90 --device cpu          # minutes in all; 90 is about what fraise-1 v0 had
    python train.py --budget 20 --device cuda --renders 200000 --processes 16

Every stage keeps its result in --work, and the two trainings keep checkpoints: run the same command again to resume.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderTiny

import autoencoder
import denoiser
import run
from export import NAME, export
from render import render

SHARES = {"autoencoder": 0.25, "denoiser": 0.55, "polish": 0.1}  # of the budget; the rest is rendering, encoding and saving


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=90, help="minutes of wall clock in all")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--work", type=Path, default=Path("work"), help="renders, checkpoints, logs (several GB)")
    parser.add_argument("--out", type=Path, help=f"the diffusers folder (default: WORK/out/{NAME})")
    parser.add_argument("--renders", type=int, default=36000)
    parser.add_argument("--processes", type=int, default=1, help="painting processes")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch on the CPU")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)

    held = render(args.work, "held", 1024, seed=900)
    renders = render(args.work, "renders", args.renders, seed=1, processes=args.processes)
    minutes = {stage: args.budget * share for stage, share in SHARES.items()}
    autoencoder.train(args.work, renders, held, minutes["autoencoder"], args.device)
    data = denoiser.prepare(args.work, renders, args.device)
    model = denoiser.train(args.work, data, minutes["denoiser"], args.device)
    vae = autoencoder.polish(args.work, renders, held, data["latents"], minutes["polish"], args.device)
    out = export(args.out or args.work / "out" / NAME, model.cpu(), AutoencoderTiny.from_pretrained(vae), args.work / "tokenizer")
    run.log(args.work, f"exported to {out}")


if __name__ == "__main__":
    main()
