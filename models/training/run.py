"""What the training stages share: the clock of a stage, the learning rate, checkpoints, the running mean of weights."""

import os
import time
from pathlib import Path

import torch


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


def learning_rate(peak: float, step: int, fraction: float, warmup: int = 100, decay_from: float = 0.6) -> float:
    """Linear warm-up, a constant stretch, then a linear decay to 2 % over the rest of the budget."""
    decay = 1.0 if fraction < decay_from else max(0.02, (1 - fraction) / (1 - decay_from))
    return peak * min(1.0, (step + 1) / warmup) * decay


@torch.no_grad()
def update_mean(mean: torch.nn.Module, model: torch.nn.Module, step: int, slowest: float = 0.999) -> None:
    decay = min(slowest, (1 + step) / (20 + step))
    torch._foreach_lerp_(list(mean.parameters()), [p.data for p in model.parameters()], 1 - decay)


def save(path: Path, state: dict) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def log(work: Path, line: str) -> None:
    stamped = f"{time.strftime('%H:%M:%S')} {line}"
    print(stamped, flush=True)
    with open(work / "train.log", "a") as file:
        file.write(stamped + "\n")
