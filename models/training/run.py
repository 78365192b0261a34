"""What all trainings share: one loop (`fit`) with the clock, the learning rate, checkpoints and the running mean of weights."""

import copy
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from optimizer import Muon

LOG_SECONDS, KEEP_SECONDS = 20, 60


class Clock:
    """Seconds of training so far, across restarts; `fraction` of the stage's budget, capped at 1."""

    def __init__(self, budget_minutes: float, already_seconds: float = 0.0):
        self.budget, self.before, self.start = budget_minutes * 60, already_seconds, time.monotonic()

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start

    @property
    def fraction(self) -> float:
        return min(1.0, self.seconds / self.budget)


def learning_rate(peak: float, step: int, fraction: float, warmup: int, decay_from: float) -> float:
    """Linear warm-up, a constant stretch, then a linear decay to 2 % over the rest of the budget."""
    decay = 1.0 if fraction < decay_from else max(0.02, (1 - fraction) / (1 - decay_from))
    return peak * min(1.0, (step + 1) / warmup) * decay


@torch.no_grad()
def update_mean(mean: nn.Module, model: nn.Module, step: int, slowest: float) -> None:
    decay = min(slowest, (1 + step) / (20 + step))
    torch._foreach_lerp_(list(mean.parameters()), [p.data for p in model.parameters()], 1 - decay)


def fit(work: Path, name: str, model: nn.Module, loss_of: Callable[[torch.Generator], torch.Tensor], minutes: float,
        batch: int, rates: tuple[float, float], edges: tuple[str, ...] = (), slowest: float = 0.998,
        warmup: int = 100, decay_from: float = 0.45, check: Callable[[nn.Module], str] | None = None) -> nn.Module:
    """Trains `model` for `minutes` of wall clock and returns the running mean of its weights.

    `loss_of(generator)` is the loss of one batch of `batch` samples, drawn by a generator on the model's device; `rates` are
    Muon's and AdamW's peaks and `edges` as in `Muon`. Resumes from WORK/NAME.pt. `check(mean)` is text to log every few minutes.
    """
    mean = copy.deepcopy(model).requires_grad_(False)
    optimizer = Muon(model, *rates, edges)
    checkpoint, step, before, device = work / f"{name}.pt", 0, 0.0, next(model.parameters()).device
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        model.load_state_dict(state["model"])
        mean.load_state_dict(state["mean"])
        optimizer.load_state_dict(state["optimizer"])
        step, before = state["step"], state["seconds"]
    clock, first, total, since = Clock(minutes, before), step, torch.zeros((), device=device), step
    logged = kept = checked = clock.seconds
    generator = torch.Generator(device).manual_seed(1000 + step)
    while clock.fraction < 1:
        optimizer.scale(learning_rate(1.0, step, clock.fraction, warmup, decay_from))
        loss = loss_of(generator)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        update_mean(mean, model, step, slowest)
        step, total = step + 1, total + loss.detach()
        now = clock.seconds
        if now - logged > LOG_SECONDS or clock.fraction == 1:
            if not math.isfinite(total.item()):  # asked for now and then only: a GPU works ahead in between
                raise RuntimeError(f"{name}: the loss is not finite at step {step}; the last checkpoint is {checkpoint}")
            rate = (step - first) * batch / (now - before)
            log(work, f"{name} step {step} loss {total.item() / (step - since):.4f} {rate:.1f} samples/s {now:.0f} s")
            logged, total, since = now, torch.zeros_like(total), step
        if now - kept > KEEP_SECONDS or clock.fraction == 1:
            save(checkpoint, {"model": model.state_dict(), "mean": mean.state_dict(), "step": step,
                              "optimizer": optimizer.state_dict(), "seconds": now})
            kept = now
        if check and now - checked > 5 * KEEP_SECONDS:
            log(work, f"{name} step {step}: {check(mean.eval())}")
            checked = now
    return mean.eval()


def compiled(module: nn.Module) -> nn.Module:
    """The same module, compiled where it is on a GPU: normalization and activations of small layers fuse there."""
    if next(module.parameters()).is_cuda:
        torch._dynamo.config.suppress_errors = True  # rather slower than not at all
        module.compile(dynamic=False)
    return module


def save(path: Path, state: dict) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def log(work: Path, line: str) -> None:
    stamped = f"{time.strftime('%H:%M:%S')} {line}"
    print(stamped, flush=True)
    with open(work / "train.log", "a") as file:
        file.write(stamped + "\n")
