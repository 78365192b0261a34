"""Stage 4: the denoiser learns to do without guidance, in few steps.

The student starts as the trained model (the teacher), keeps its text encoder, and learns what the teacher does with guidance
over a whole step: from a noisy latent at t, the teacher's guided path is followed to t - JUMP by the midpoint rule, and the
student's one prediction at t shall lead to the same place. A picture then costs one pass a step instead of two, and 4 steps
instead of 20. After Salimans & Ho, "Progressive distillation" (2022), and Meng et al., "On distillation of guided diffusion
models" (2023). JUMP is what 4 steps take of a schedule that ends at it (`shift_terminal` in `export.py`): 1, 3/4, 1/2, 1/4.
"""

import copy
from pathlib import Path

import torch

import run
from denoiser import EDGES, Denoiser, Renders

GUIDANCE = 2.5
JUMP = 1 / 4  # of the way from noise to picture
DROP_CAPTION = 0.05  # so that guidance still has something to lead away from
BATCH = {"cpu": 48, "cuda": 384}
RATES = {"cpu": (1.5e-3, 3e-4), "cuda": (2e-3, 4e-4)}


@torch.no_grad()
def guided(teacher: Denoiser, x: torch.Tensor, t: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """The teacher's velocity with guidance; `context` holds the empty prompt's embeddings, then the captions'."""
    x2 = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16):
        without, with_text = teacher.unet(x2, torch.cat([t, t]) * 1000, context).sample.float().chunk(2)
    return without + GUIDANCE * (with_text - without)


def distil_loss(student: Denoiser, teacher: Denoiser, data: Renders, generator: torch.Generator, batch: int) -> torch.Tensor:
    x, noise, tokens = data.draw(batch, generator)
    random = torch.rand(2, batch, generator=generator, device=x.device)
    tokens = torch.where(random[0, :, None] < DROP_CAPTION, data.empty, tokens)
    t = 1 - 0.98 * random[1] ** 1.3  # more of the noisy, undecided end
    after = (t - JUMP).clamp(min=0)
    middle = (t + after) / 2
    at = lambda v: v[:, None, None, None]  # noqa: E731
    start = (1 - at(t)) * x + at(t) * noise
    with torch.no_grad(), torch.autocast(x.device.type, torch.bfloat16):
        context = teacher.text(torch.cat([data.empty.expand_as(tokens), tokens])).last_hidden_state
    ahead = guided(teacher, start, t, context)
    target = guided(teacher, start + at(middle - t) * ahead, middle, context)
    with torch.autocast(x.device.type, torch.bfloat16):
        velocity = student.unet(start.contiguous(memory_format=torch.channels_last), t * 1000, context[batch:]).sample
    return ((velocity.float() - target) ** 2).mean()


def distil(work: Path, teacher: Denoiser, minutes: float, device: str) -> Denoiser:
    """Trains the student's UNet for `minutes`, resuming from `work/student.pt`; returns it with the running mean's weights.

    The text encoder stays the teacher's, so that the scorer need not wait.
    """
    data, batch = Renders(work, device), BATCH[device]
    teacher = teacher.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    student = copy.deepcopy(teacher)
    student.unet.requires_grad_(True)
    run.compiled(teacher.unet), run.compiled(student.unet)
    student.unet = run.fit(work, "student", student.unet, lambda generator: distil_loss(student, teacher, data, generator, batch),
                           minutes, batch, rates=RATES[device], edges=EDGES, slowest=0.99, warmup=10, decay_from=0.3)  # fmt: skip
    return student
