"""Stage 5: the denoiser learns to do without guidance, in few steps.

The student starts as the trained model (the teacher) and learns what the teacher does with guidance over a whole step:
from a noisy latent at t, the teacher takes two guided Euler steps to t - JUMP, and the student's one prediction at t shall
lead to the same place. A picture then costs one pass a step instead of two, and 4 to 8 steps instead of 12. After
Salimans & Ho, "Progressive distillation" (2022), and Meng et al., "On distillation of guided diffusion models" (2023).
"""

import copy
import math
from pathlib import Path

import torch
from torch import nn

import run
from denoiser import BATCH, Denoiser, draw_batch
from optimizer import Muon

GUIDANCE = 2.5
JUMP = 0.2  # of the way from noise to picture


@torch.no_grad()
def guided(teacher: Denoiser, x: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """The teacher's velocity with guidance; `context` holds the empty prompt's embeddings, then the captions'."""
    x2 = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16):
        without, with_text = teacher.unet(x2, torch.cat([t, t]) * 1000, context).sample.float().chunk(2)
    return without + GUIDANCE * (with_text - without)


def distil_loss(student: Denoiser, teacher: Denoiser, data: dict, generator: torch.Generator, device: str) -> torch.Tensor:
    x, noise, _, tokens = draw_batch(data, generator, device)
    t = 1 - 0.98 * torch.rand(BATCH, generator=generator).to(device) ** 1.3  # more of the noisy, undecided end
    after = (t - JUMP).clamp(min=0)
    half = (t + after) / 2
    at = lambda v: v[:, None, None, None]  # noqa: E731
    start = (1 - at(t)) * x + at(t) * noise
    with torch.no_grad(), torch.autocast(device, torch.bfloat16):
        context = teacher.text(torch.cat([data["empty"].expand_as(tokens).to(device), tokens])).last_hidden_state
    first = guided(teacher, start, t, context)
    second = guided(teacher, start + at(half - t) * first, half, context)
    target = (first + second) / 2  # both halves are equally long
    with torch.autocast(device, torch.bfloat16):
        velocity = student(start.contiguous(memory_format=torch.channels_last), t, tokens)
    return ((velocity.float() - target) ** 2).mean()


def distil(work: Path, teacher: Denoiser, data: dict, minutes: float, device: str, team: run.Team) -> Denoiser:
    """Trains the student for `minutes`, resuming from `work/student.pt`; returns the running mean of its weights."""
    teacher = teacher.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    model = copy.deepcopy(teacher).requires_grad_(True)
    mean = copy.deepcopy(teacher)
    optimizer = Muon(model, 1.5e-3, 3e-4, edges=("embedding", "conv_in", "conv_out"))
    checkpoint, step, seconds = work / "student.pt", 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        model.load_state_dict(state["model"])
        mean.load_state_dict(state["mean"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    clock, rounds = run.Clock(minutes, seconds), 0
    generator = torch.Generator().manual_seed(2000 + step + 1_000_000 * team.rank)
    fraction = clock.fraction
    while fraction < 1:
        mine, loss_sum = 0, 0.0
        while mine == 0 or not team.is_time():
            optimizer.scale(run.learning_rate(1.0, step + mine, clock.fraction, 10, 0.3))
            loss = distil_loss(model, teacher, data, generator, device)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            mine, loss_sum = mine + 1, loss_sum + loss.item()
        sums = (mine, loss_sum, clock.fraction / team.size)
        taken, loss_sum, fraction = team.average([*model.parameters(), *optimizer.buffers], sums)
        run.update_mean(mean, model, step, 0.98, taken / team.size)
        step, rounds = step + round(taken), rounds + 1
        if not math.isfinite(loss_sum):
            raise RuntimeError(f"the loss is not finite at step {step}; the last checkpoint is {checkpoint}")
        if team.rank == 0:
            run.log(work, f"student step {step} loss {loss_sum / taken:.4f} {clock.seconds:.0f} s")
            if rounds % 4 == 0 or fraction >= 1:
                run.save(checkpoint, {"model": model.state_dict(), "mean": mean.state_dict(), "step": step,
                                      "optimizer": optimizer.state_dict(), "seconds": clock.seconds})
    return mean.eval()
