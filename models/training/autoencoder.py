"""Stage 2: diffusers' `AutoencoderTiny` around latents that are given (`latents.py`): 128x128 ↔ 8x8, 48 channels.

The decoder learns pictures from latents, noise added to forgive the denoiser's small errors; the encoder, which only
pictures to start from need, learns to give the latents. Neither waits for the other, nor the denoiser for either.

`AutoencoderTiny` has one width for all stages of a half: multiples of 32, so that the pack can be quantized. No residual
blocks stand at 128x128 and 64x64, where a convolution costs most.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import nn
from torch.nn import functional as F

import run
from latents import CHANNELS
from render import fit_components, load_latents, load_pictures

BATCH = 8
RATES = (5e-3, 1.5e-3)
LATENT_NOISE = 0.12
CONFIG = {
    "encoder_block_out_channels": (32,) * 5,
    "decoder_block_out_channels": (64,) * 5,
    "num_encoder_blocks": (0, 0, 0, 1, 1),
    "num_decoder_blocks": (3, 3, 2, 0, 0),
    "latent_channels": CHANNELS,
    "scaling_factor": 1.0,
}


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
def psnr(decoder: nn.Module, latents: torch.Tensor, pictures: np.ndarray, device: str) -> float:
    """Mean over pictures of the PSNR in dB of the decoded latents."""
    values = []
    for start in range(0, len(pictures), 32):
        target = to_pixels(pictures[start : start + 32], device)
        output = decoder(latents[start : start + 32].float().to(device)).clamp(-1, 1)
        values.append(10 * torch.log10(4 / ((output - target) ** 2).mean((1, 2, 3))))
    return torch.cat(values).mean().item()


def _ends(half: nn.Module) -> tuple[str, ...]:
    """The names of a half's first and last convolutions."""
    return "layers.0.", f"layers.{len(half.layers) - 1}."


def _model(work: Path) -> AutoencoderTiny:
    """A fresh autoencoder, or the one that `work/vae` has so far."""
    torch.manual_seed(1)
    model = AutoencoderTiny.from_pretrained(work / "vae") if (work / "vae").exists() else AutoencoderTiny(**CONFIG)
    return model.to(memory_format=torch.channels_last)


def train_decoder(work: Path, minutes: float, device: str = "cpu") -> None:
    """Trains the decoder for `minutes` and puts it into `work/vae`."""
    pictures, held = load_pictures(work / "renders"), load_pictures(work / "held")
    latents, held_latents = (torch.from_numpy(load_latents(work / name)[0]) for name in ("renders", "held"))
    decoder = _model(work).decoder.to(device)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(pictures), (BATCH,), generator=generator)
        x = latents[pick].float()
        x = (x + LATENT_NOISE * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(x)).to(device)
        with torch.autocast(device, torch.bfloat16):
            output = decoder(x.contiguous(memory_format=torch.channels_last))
        return loss_function(output.float(), to_pixels(pictures[pick.numpy()], device))

    mean = run.fit(work, "decoder", decoder, loss_of, minutes, BATCH, RATES, _ends(decoder), slowest=0.995,
                   check=lambda m: f"held-out {psnr(m, held_latents[:128], held[:128], device):.2f} dB")  # fmt: skip
    run.log(work, f"decoder done, held-out PSNR {psnr(mean, held_latents, held, device):.2f} dB")
    vae = _model(work)
    vae.decoder.load_state_dict(mean.state_dict())
    vae.save_pretrained(work / "vae")


def train_encoder(work: Path, minutes: float, device: str = "cpu") -> None:
    """Trains the encoder for `minutes` to give the latents, and puts it into `work/vae`."""
    pictures, components = load_pictures(work / "renders"), fit_components(work)
    encoder = _model(work).encoder.to(device)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(pictures), (BATCH,), generator=generator)
        with torch.autocast(device, torch.bfloat16):
            output = encoder(to_pixels(pictures[pick.numpy()], device))
        return F.mse_loss(output.float(), torch.from_numpy(components.encode(pictures[pick.numpy()])).to(device))

    @torch.no_grad()
    def check(mean: nn.Module) -> str:
        held = load_pictures(work / "held")[:128]
        target = torch.from_numpy(components.encode(held))
        error = F.mse_loss(mean(to_pixels(held, device)).cpu(), target)
        return f"latents {10 * torch.log10(target.var() / error).item():.2f} dB"

    mean = run.fit(work, "encoder", encoder, loss_of, minutes, BATCH, RATES, _ends(encoder), slowest=0.995, check=check)
    run.log(work, f"encoder done, {check(mean)}")
    vae = _model(work)
    vae.encoder.load_state_dict(mean.state_dict())
    vae.save_pretrained(work / "vae")


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    {"decoder": train_decoder, "encoder": train_encoder}[sys.argv[2]](Path(sys.argv[1]), float(sys.argv[3]))
