"""Stage 2: the autoencoder around latents that are given (`latents.py`): 256x256 ↔ 16x16, 24 channels.

The encoder is the components themselves, one convolution with stride 16, exact from the start. The decoder begins as the
best linear reconstruction, one 1x1 convolution and a pixel shuffle; a small network beside it, most of it at a quarter of
the picture's resolution, learns what is missing: sharp edges instead of waves, and no seams. Noise on the latents teaches
it to forgive the denoiser's small errors. 2.9 GFLOP a picture.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import run
from latents import CHANNELS, patches
from patch import AutoencoderPatch
from render import fit_components, load_pictures

BATCH = {"cpu": 8, "cuda": 64}
RATES = (5e-3, 1e-3)
EDGES = ("linear", "conv_in", "conv_out")
LATENT_NOISE = 0.12
CONFIG = {
    "_class_name": "AutoencoderPatch",
    "in_channels": 3,
    "latent_channels": CHANNELS,
    "patch_size": 16,
    "latent_width": 128,  # at the latents' resolution
    "num_latent_blocks": 2,
    "feature_patch_size": 4,  # features per latent along a side
    "width": 64,  # of the features
    "num_blocks": 4,
    "scaling_factor": 1.0,
}


@torch.no_grad()
def start(model: AutoencoderPatch, work: Path, pictures: np.ndarray) -> None:
    """The encoder from the components; the decoder's linear part by least squares from latents to pictures."""
    components = fit_components(work)
    for parameter, value in zip((model.encoder.weight, model.encoder.bias), components.convolution()):
        parameter.copy_(torch.from_numpy(value))
    patch = model.config["patch_size"]
    z = components.encode(pictures).transpose(0, 2, 3, 1).reshape(-1, CHANNELS)
    z = np.concatenate([z, np.ones((len(z), 1), np.float32)], 1)
    target = patches(pictures, patch).reshape(len(z), -1)
    solution = np.linalg.solve(z.T @ z, z.T @ target).reshape(CHANNELS + 1, patch, patch, 3)
    solution = torch.from_numpy(solution.transpose(3, 1, 2, 0).reshape(-1, CHANNELS + 1))  # as pixel_shuffle reads it
    model.decoder.linear.weight.copy_(solution[:, :-1, None, None])
    model.decoder.linear.bias.copy_(solution[:, -1])


def to_pixels(pictures: np.ndarray | torch.Tensor, device: str) -> torch.Tensor:
    """uint8 [N, H, W, 3] → [N, 3, H, W] in [-1, 1]."""
    pixels = torch.as_tensor(pictures).to(device).permute(0, 3, 1, 2)
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def to_pictures(pixels: torch.Tensor) -> np.ndarray:
    """[N, 3, H, W] in [-1, 1] → uint8 [N, H, W, 3]."""
    return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def noised(z: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Latents with noise of a strength that is each picture's own, from none to LATENT_NOISE."""
    strength = LATENT_NOISE * torch.rand(len(z), 1, 1, 1, generator=generator, device=z.device)
    return z + strength * torch.randn(z.shape, generator=generator, device=z.device)


@torch.no_grad()
def decode_noised(work: Path, latents: np.ndarray, seed: int, device: str) -> np.ndarray:
    """Pictures of latents with noise, uint8: renders as a model would paint them."""
    decoder, generator, out = AutoencoderPatch.load(work / "vae").decoder.to(device), torch.Generator(device).manual_seed(seed), []
    for z in torch.from_numpy(latents).to(device).float().split(32):
        with torch.autocast(device, torch.bfloat16):
            out.append(to_pictures(decoder(noised(z, generator).contiguous(memory_format=torch.channels_last))))
    return np.concatenate(out)


def loss_function(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 and squares of pixels, and L1 of their differences (sharp edges, no seams)."""
    loss = F.l1_loss(output, target) + F.mse_loss(output, target)
    for axis in (2, 3):
        loss = loss + 0.5 * F.l1_loss(output.diff(dim=axis), target.diff(dim=axis))
    return loss


@torch.no_grad()
def psnr(decoder: nn.Module, latents: torch.Tensor, pictures: np.ndarray, device: str) -> float:
    """Mean over pictures of the PSNR in dB of the decoded latents."""
    values = []
    for start in range(0, len(pictures), 32):
        target = to_pixels(pictures[start : start + 32], device)
        output = decoder(latents[start : start + 32].float().to(device)).clamp(-1, 1)
        values.append(10 * torch.log10(4 / ((output - target) ** 2).mean((1, 2, 3))))
    return torch.cat(values).mean().item()


def train_autoencoder(work: Path, minutes: float, device: str = "cpu") -> None:
    """Trains the decoder for `minutes` and writes `work/vae`."""
    torch.manual_seed(1)
    (pictures, latents, _), (held, held_latents, _) = (load_pictures(work / name) for name in ("renders", "held"))
    model = AutoencoderPatch(CONFIG).to(memory_format=torch.channels_last)
    start(model, work, pictures[:1000])
    pictures, latents, held_latents = (torch.from_numpy(values).to(device) for values in (pictures, latents, held_latents))
    batch = BATCH[device]
    decoder = model.decoder.to(device)
    run.log(work, f"autoencoder, linear: held-out {psnr(decoder, held_latents, held, device):.2f} dB")

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(pictures), (batch,), generator=generator, device=device)
        z = noised(latents[pick].float(), generator)
        with torch.autocast(device, torch.bfloat16):
            output = decoder(z.contiguous(memory_format=torch.channels_last))
        return loss_function(output.float(), to_pixels(pictures[pick], device))

    mean = run.fit(work, "decoder", run.compiled(decoder), loss_of, minutes, batch, RATES, EDGES, slowest=0.995,
                   check=lambda m: f"held-out {psnr(m, held_latents[:64], held[:64], device):.2f} dB")  # fmt: skip
    run.log(work, f"autoencoder done, held-out {psnr(mean, held_latents, held, device):.2f} dB")
    model.decoder = mean.cpu()
    model.save(work / "vae")


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    train_autoencoder(Path(sys.argv[1]), float(sys.argv[2]))
