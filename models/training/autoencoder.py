"""Stage 2: the autoencoder, diffusers' `AutoencoderTiny` with f16 and 12 latent channels (256x256 ↔ 16x16).

While it trains, a batch normalisation without parameters stands between encoder and decoder, so that each latent channel
has mean 0 and variance 1; it is folded into the encoder's last convolution at the end. The saved model therefore needs
scaling_factor 1.0 and no shift. Noise on the latents teaches the decoder to forgive the denoiser's small errors.

`AutoencoderTiny` has one width for all its stages: 32 here, because a convolution at 256x256 costs most by far. No
residual blocks stand at 256x256 and 128x128, and many at 16x16 and 32x32, where they cost next to nothing. It trains on
crops, whose corners lie on the latents' grid, so that patterns with a period that divides 16 look the same to it.
"""

import copy
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import nn
from torch.nn import functional as F

import run
from optimizer import Muon
from render import load

BATCH, CROP = 8, 128
MATRIX_RATE, OTHER_RATE = 5e-3, 1.5e-3
LATENT_NOISE = 0.15
CONFIG = {
    "encoder_block_out_channels": (32,) * 5,
    "decoder_block_out_channels": (32,) * 5,
    "num_encoder_blocks": (0, 0, 1, 3, 4),
    "num_decoder_blocks": (6, 4, 2, 0, 0),
    "latent_channels": 12,
    "scaling_factor": 1.0,
}


class Trainee(nn.Module):
    """Encoder, normalisation, noise, decoder."""

    def __init__(self):
        super().__init__()
        self.vae = AutoencoderTiny(**CONFIG)
        self.norm = nn.BatchNorm2d(CONFIG["latent_channels"], affine=False, momentum=0.02)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        latents = self.norm(self.vae.encoder(pixels).float())
        return self.vae.decoder(latents + LATENT_NOISE * torch.rand(len(latents), 1, 1, 1, device=latents.device)
                                * torch.randn_like(latents))


def to_pixels(pictures: np.ndarray, device: str) -> torch.Tensor:
    """uint8 [N, H, W, 3] → [N, 3, H, W] in [-1, 1]."""
    pixels = torch.from_numpy(np.array(pictures)).to(device).permute(0, 3, 1, 2)
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def loss_function(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 on pixels, on their differences (sharp edges, no seams) and on a coarse copy (right colours)."""
    loss = F.l1_loss(output, target) + 0.5 * F.mse_loss(output, target)
    for axis in (2, 3):
        loss = loss + 0.5 * F.l1_loss(output.diff(dim=axis), target.diff(dim=axis))
    return loss + 0.5 * F.l1_loss(F.avg_pool2d(output, 8), F.avg_pool2d(target, 8))


@torch.no_grad()
def psnr(vae: AutoencoderTiny, pictures: np.ndarray, device: str) -> float:
    """Mean over pictures of the PSNR in dB of decode(encode(picture))."""
    values = []
    for start in range(0, len(pictures), 32):
        target = to_pixels(pictures[start : start + 32], device)
        output = vae.decoder(vae.encoder(target)).clamp(-1, 1)
        values.append(10 * torch.log10(4 / ((output - target) ** 2).mean((1, 2, 3))))
    return torch.cat(values).mean().item()


@torch.no_grad()
def fold(trainee: Trainee, pictures: np.ndarray, device: str) -> AutoencoderTiny:
    """A copy of the autoencoder with the latents' exact mean and deviation folded into the encoder's last layer."""
    vae = copy.deepcopy(trainee.vae).eval()
    parts = [vae.encoder(to_pixels(pictures[i : i + 64], device)) for i in range(0, len(pictures), 64)]
    latents = torch.cat(parts).float()
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    last = vae.encoder.layers[-1]
    last.weight.div_(deviation[:, None, None, None])
    last.bias.sub_(mean).div_(deviation)
    tame(vae.encoder)
    return vae


@torch.no_grad()
def tame(encoder: nn.Module) -> None:
    """Rescales the encoder's layers so that activations stay small enough for float16; the latents stay the same.

    Nothing in training fixes the scale between its layers. ReLU and the residual sums commute with a positive factor, so
    each strided convolution (without bias) can be divided by its gain, if the biases behind it and at last the final
    convolution make up for it.
    """
    scale, final = 1.0, encoder.layers[-1]
    for layer in encoder.layers[1:-1]:
        if isinstance(layer, nn.Conv2d):
            gain = layer.weight.flatten(1).norm(dim=1).mean().item()
            layer.weight.div_(gain)
            scale *= gain
        else:
            for convolution in (m for m in layer.modules() if isinstance(m, nn.Conv2d) and m.bias is not None):
                convolution.bias.div_(scale)
    final.weight.mul_(scale)


def random_crops(pictures: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list]:
    """(crops, which pictures, row and column of each on the latents' grid)."""
    pick = np.sort(rng.integers(len(pictures), size=BATCH))
    corners = rng.integers((pictures.shape[1] - CROP) // 16 + 1, size=(BATCH, 2)).tolist()
    crops = [pictures[i, 16 * y : 16 * y + CROP, 16 * x : 16 * x + CROP] for i, (y, x) in zip(pick, corners)]
    return np.stack(crops), pick, corners


def _fit(work: Path, name: str, model: nn.Module, batch, minutes: float, device: str, peak: float, check) -> nn.Module:
    """Trains `model` on what `batch(rng)` returns, (output, target), for `minutes`; returns its running mean.

    Resumes from `work/NAME.pt`; `check(mean)` is a number to log now and then.
    """
    torch.manual_seed(1)
    mean = copy.deepcopy(model).requires_grad_(False)
    optimizer = Muon(model, MATRIX_RATE * peak, OTHER_RATE * peak, _edges(model))
    checkpoint, step, seconds, total = work / f"{name}.pt", 0, 0.0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        model.load_state_dict(state["model"])
        mean.load_state_dict(state["mean"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    clock, rng, first = run.Clock(minutes, seconds), np.random.default_rng((1, step)), step

    def keep() -> None:
        run.save(checkpoint, {"model": model.state_dict(), "mean": mean.state_dict(),
                              "optimizer": optimizer.state_dict(), "step": step, "seconds": clock.seconds})

    while clock.fraction < 1:
        optimizer.scale(run.learning_rate(1.0, step, clock.fraction, decay_from=0.5))
        with torch.autocast(device, torch.bfloat16):
            output, target = batch(rng)
        loss = loss_function(output.float(), target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        run.update_mean(mean, model, step, 0.995)
        for kept, new in zip(mean.buffers(), model.buffers()):
            kept.copy_(new)
        step, total = step + 1, total + loss.item()
        if step % 100 == 0:
            rate = (step - first) * BATCH / (clock.seconds - seconds)
            run.log(work, f"{name} step {step} loss {total / 100:.4f} {rate:.1f} pictures/s {clock.seconds:.0f} s")
            total = 0.0
        if step % 1000 == 0:
            keep()
            run.log(work, f"{name} step {step} held-out PSNR {check(mean):.2f} dB")
    keep()
    return mean


def _edges(model: nn.Module) -> tuple[str, ...]:
    """First and last layers, which Muon leaves to AdamW: (encoder and) decoder are sequences called `layers`."""
    ends = {name: len(module) - 1 for name, module in model.named_modules() if name.endswith("layers")}
    return tuple(f"{name}.{i}." for name, last in ends.items() for i in (0, last))


def train(work: Path, renders: Path, held: Path, minutes: float, device: str) -> Path:
    """Trains encoder and decoder for `minutes` and saves `work/vae`."""
    out = work / "vae"
    if out.exists():
        return out
    (pictures, _), (held_pictures, _) = load(renders), load(held)
    torch.manual_seed(1)
    trainee = Trainee().to(device, memory_format=torch.channels_last)

    def batch(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        target = to_pixels(random_crops(pictures, rng)[0], device)
        return trainee(target), target

    def check(mean: Trainee) -> float:
        return psnr(fold(mean, pictures[:256], device), held_pictures[:128], device)

    mean = _fit(work, "autoencoder", trainee, batch, minutes, device, 1.0, check)
    vae = fold(mean, pictures[:2048], device)
    run.log(work, f"autoencoder done, held-out PSNR {psnr(vae, held_pictures[:512], device):.2f} dB")
    vae.save_pretrained(out)
    return out


def polish(work: Path, renders: Path, held: Path, latents: torch.Tensor, minutes: float, device: str) -> Path:
    """Trains the decoder alone for `minutes` on the cached latents and saves `work/vae-polished`.

    The encoder, and so the denoiser's latents, stay as they are.
    """
    out = work / "vae-polished"
    if out.exists():
        return out
    (pictures, _), (held_pictures, _) = load(renders), load(held)
    vae = AutoencoderTiny.from_pretrained(work / "vae").to(device, memory_format=torch.channels_last)

    def batch(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        crops, pick, corners = random_crops(pictures[: len(latents)], rng)
        side = CROP // 16
        x = torch.stack([latents[i, :, y : y + side, a : a + side] for i, (y, a) in zip(pick, corners)]).float().to(device)
        x = x + LATENT_NOISE * torch.rand(BATCH, 1, 1, 1, device=device) * torch.randn_like(x)
        return vae.decoder(x.contiguous(memory_format=torch.channels_last)), to_pixels(crops, device)

    def check(mean: nn.Module) -> float:
        whole = copy.deepcopy(vae)
        whole.decoder.load_state_dict(mean.state_dict())
        return psnr(whole, held_pictures[:128], device)

    mean = _fit(work, "decoder", vae.decoder, batch, minutes, device, 0.5, check)
    vae.decoder.load_state_dict(mean.state_dict())
    run.log(work, f"decoder polished, held-out PSNR {psnr(vae.eval(), held_pictures[:512], device):.2f} dB")
    vae.save_pretrained(out)
    return out
