"""What the training stages share: the clock of a stage, the learning rate, checkpoints, the running mean of weights."""

import math
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist


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


class Team:
    """Processes that train one model: each for itself for `period` seconds, then their weights are averaged."""

    def __init__(self, rank: int = 0, size: int = 1, meeting: Path | None = None, period: float = 15.0):
        self.rank, self.size, self.period = rank, size, period
        self.next = math.ceil(time.time() / period) * period
        if size > 1:
            dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)

    def is_time(self) -> bool:
        return time.time() >= self.next

    @torch.no_grad()
    def average(self, tensors: list[torch.Tensor], sums: tuple[float, ...]) -> list[float]:
        """Replaces `tensors` by their mean, weighted by the first of `sums` (steps); returns the sums of all processes."""
        self.next = math.ceil(time.time() / self.period + 1e-3) * self.period
        if self.size == 1:
            return list(sums)
        flat = torch.cat([t.data.flatten() for t in tensors]) * sums[0]
        flat = torch.cat([flat, torch.tensor(sums, dtype=torch.float32)])
        dist.all_reduce(flat)
        totals = flat[-len(sums) :].tolist()
        for tensor, part in zip(tensors, (flat[: -len(sums)] / totals[0]).split([t.numel() for t in tensors])):
            tensor.data.copy_(part.view_as(tensor))
        return totals


@torch.no_grad()
def update_mean(mean: torch.nn.Module, model: torch.nn.Module, step: int, slowest: float = 0.999, times: float = 1) -> None:
    """Moves the running mean towards the model, as if `times` steps had done so."""
    decay = min(slowest, (1 + step) / (20 + step)) ** times
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
