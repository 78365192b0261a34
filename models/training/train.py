"""Trains the default model: render → latents → decoder, encoder and denoiser → student → export.

    python train.py --budget 90 --device cpu --processes 2     # minutes in all
    python train.py --budget 20 --device cuda --renders 200000 --processes 16

Every stage keeps its result in --work and checkpoints on the way: run the same command again to resume. With an older
model's folder in WORK/start (`unpack.py`), the denoiser begins from it (`start.py`).
"""

import argparse
from pathlib import Path

import torch
import torch.multiprocessing as multiprocessing

import autoencoder
import run
from denoiser import Denoiser, load_data, train
from distill import distil
from export import NAME, export
from render import render

SHARES = {"decoder": 0.2, "encoder": 0.04, "denoiser": 0.5, "student": 0.16}  # of the budget; rendering and export: the rest


def _denoise(rank: int, args: argparse.Namespace) -> None:
    """One process of the team: denoiser, then student."""
    torch.set_num_threads(args.threads)
    team = run.Team(rank, args.team, args.work / "meeting")
    data = load_data(args.work, args.renders)
    teacher = train(args.work, data, args.budget * SHARES["denoiser"], args.device, team)
    student = distil(args.work, teacher, data, args.budget * SHARES["student"], args.device, team)
    if rank == 0:
        run.save(args.work / "final.pt", student.cpu().state_dict())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=90, help="minutes of wall clock in all")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--work", type=Path, default=Path("work"), help="renders, checkpoints, logs")
    parser.add_argument("--out", type=Path, help=f"the diffusers folder (default: WORK/out/{NAME})")
    parser.add_argument("--renders", type=int, default=14000)
    parser.add_argument("--processes", type=int, default=1, help="painting processes")
    parser.add_argument("--team", type=int, default=1, help="processes that train the denoiser together")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch on the CPU")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)

    render(args.work, "held", 512, seed=900, pictures=512)
    render(args.work, "renders", args.renders, seed=1, pictures=5000, processes=args.processes)
    autoencoder.train_decoder(args.work, args.budget * SHARES["decoder"], args.device)
    autoencoder.train_encoder(args.work, args.budget * SHARES["encoder"], args.device)
    load_data(args.work, args.renders)  # the captions, before the processes want them
    (args.work / "meeting").unlink(missing_ok=True)
    multiprocessing.spawn(_denoise, (args,), args.team)
    data = load_data(args.work, args.renders)
    model = Denoiser(data["vocabulary"], data["end"], data["start"])
    model.load_state_dict(torch.load(args.work / "final.pt"))
    out = export(args.out or args.work / "out" / NAME, model, args.work / "vae", args.work / "tokenizer")
    run.log(args.work, f"exported to {out}")


if __name__ == "__main__":
    main()
