"""Stage 5: the denoiser learns to do without guidance, in few steps.

The student starts as the trained model (the teacher), keeps its text encoder, and learns what the teacher does with guidance over a whole step:
from a noisy latent at t, the teacher's guided path is followed to t - JUMP by the midpoint rule, and the student's one
prediction at t shall lead to the same place. A picture then costs one pass a step instead of two, and 4 steps instead of
20. After Salimans & Ho, "Progressive distillation" (2022), and Meng et al., "On distillation of guided diffusion models"
(2023). JUMP is what 4 steps of `FlowMatchEulerDiscreteScheduler` take: 1, 2/3, 1/3 and a last one from 0.001.
"""

import copy
from pathlib import Path

import torch

import run
from denoiser import BATCH, EDGES, Denoiser, draw_batch

GUIDANCE = 2.5
JUMP = 1 / 3  # of the way from noise to picture


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
    middle = (t + after) / 2
    at = lambda v: v[:, None, None, None]  # noqa: E731
    start = (1 - at(t)) * x + at(t) * noise
    with torch.no_grad(), torch.autocast(device, torch.bfloat16):
        context = teacher.text(torch.cat([data["empty"].expand_as(tokens).to(device), tokens])).last_hidden_state
    ahead = guided(teacher, start, t, context)
    target = guided(teacher, start + at(middle - t) * ahead, middle, context)
    with torch.autocast(device, torch.bfloat16):
        velocity = student.unet(start.contiguous(memory_format=torch.channels_last), t * 1000, context[BATCH:]).sample
    return ((velocity.float() - target) ** 2).mean()


def distil(work: Path, teacher: Denoiser, data: dict, minutes: float, device: str) -> Denoiser:
    """Trains the student's UNet for `minutes`, resuming from `work/student.pt`; returns it with the running mean's weights.

    The text encoder stays the teacher's, so that the scorer need not wait.
    """
    teacher = teacher.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    student = copy.deepcopy(teacher)
    student.unet.requires_grad_(True)
    student.unet = run.fit(work, "student", student.unet, lambda generator: distil_loss(student, teacher, data, generator, device),
                           minutes, BATCH, rates=(1.5e-3, 3e-4), edges=EDGES, slowest=0.98, warmup=10, decay_from=0.3)  # fmt: skip
    return student
