"""Stage 5: a 2x super-resolution network, 256x256 → 512x512, for pictures of this painter and this decoder.

    FRAISE_PAINTER_SIZE=512 python upscaler.py WORK MINUTES

The layers are compact SRVGG's, as in Real-ESRGAN (Wang et al., arXiv:2107.10833): 3x3 convolutions with PReLU at the low
resolution, then a pixel shuffle, added to the nearest-neighbour enlargement. It learns from scenes painted at 512 and what is
left of them at 256: half of the inputs are reduced renders, half have been through latents with noise and the decoder, as
pictures of the model have.
"""

import json
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import run
from autoencoder import decode_noised
from icons import load_drawings
from places import SIZE
from render import fit_components, paint_many

CONFIG = {"_class_name": "SRVGGNetCompact", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 32, "num_conv": 8, "upscale": 2, "act_type": "prelu"}
BATCH, CROP = {"cpu": 8, "cuda": 64}, 64
PICTURES, PART = 1200, 100


class SRVGGNetCompact(nn.Module):
    """[N, 3, H, W] in [0, 1] → [N, 3, H * upscale, W * upscale]."""

    def __init__(self, num_in_ch: int, num_out_ch: int, num_feat: int, num_conv: int, upscale: int, **_):
        super().__init__()
        self.upscale = upscale
        self.body = nn.ModuleList([nn.Conv2d(num_in_ch, num_feat, 3, 1, 1), nn.PReLU(num_feat)])
        for _ in range(num_conv):
            self.body += [nn.Conv2d(num_feat, num_feat, 3, 1, 1), nn.PReLU(num_feat)]
        self.body.append(nn.Conv2d(num_feat, num_out_ch * upscale**2, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x
        for layer in self.body:
            h = layer(h)
        return F.pixel_shuffle(h, self.upscale) + F.interpolate(x, scale_factor=self.upscale, mode="nearest")


def save_upscaler(model: SRVGGNetCompact, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})


def _pairs(work: Path, seed: int, count: int, device: str) -> tuple[np.ndarray, np.ndarray]:
    """(inputs [N, 256, 256, 3], targets [N, 512, 512, 3]), uint8; every other input has been through the decoder."""
    assert SIZE == 512, "set FRAISE_PAINTER_SIZE=512"
    load_drawings(work)  # before the processes part, so that they share them
    parts = [range(start, min(start + PART, count)) for start in range(0, count, PART)]
    with ProcessPoolExecutor() as pool:
        targets = np.concatenate([pictures for pictures, _ in pool.map(paint_many, repeat(work), repeat(seed), parts)])
    inputs = np.stack([cv2.resize(p, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA) for p in targets])
    inputs[::2] = decode_noised(work, fit_components(work).encode(inputs[::2]), seed, device)
    return inputs, targets


def _unit(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [N, H, W, 3] → [N, 3, H, W] in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def psnr(model: nn.Module, inputs: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Mean PSNR in dB of the model's and of bicubic enlargements."""
    device = next(model.parameters()).device
    low, high = _unit(inputs).to(device), _unit(targets).to(device)
    each = [model(low).clamp(0, 1), F.interpolate(low, scale_factor=2, mode="bicubic").clamp(0, 1)]
    return tuple((-10 * torch.log10(((x - high) ** 2).mean((1, 2, 3)))).mean().item() for x in each)


def train_upscaler(work: Path, minutes: float, device: str = "cpu") -> None:
    """Trains for `minutes` and writes `work/upscaler`."""
    torch.manual_seed(7)
    inputs, targets = _pairs(work, 300, PICTURES, device)
    held = _pairs(work, 301, 64, device)
    batch = BATCH[device]
    model = SRVGGNetCompact(**CONFIG).to(device, memory_format=torch.channels_last)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(inputs), (batch,), generator=generator, device=device).tolist()
        corner = torch.randint(inputs.shape[1] - CROP + 1, (batch, 2), generator=generator, device=device).tolist()
        low = _unit(np.stack([inputs[i, y : y + CROP, x : x + CROP] for i, (y, x) in zip(pick, corner)]))
        high = _unit(np.stack([targets[i, 2 * y : 2 * (y + CROP), 2 * x : 2 * (x + CROP)] for i, (y, x) in zip(pick, corner)]))
        low, high = (t.to(device).contiguous(memory_format=torch.channels_last) for t in (low, high))
        with torch.autocast(device, torch.bfloat16):
            output = model(low)
        output = output.float()
        edges = sum(F.l1_loss(output.diff(dim=axis), high.diff(dim=axis)) for axis in (2, 3))
        return F.l1_loss(output, high) + 0.5 * edges

    def check(mean: nn.Module) -> str:
        renders = psnr(mean, held[0][1::2], held[1][1::2])
        decoded = psnr(mean, held[0][::2], held[1][::2])
        return f"renders {renders[0]:.2f} dB (bicubic {renders[1]:.2f}), decoded {decoded[0]:.2f} dB (bicubic {decoded[1]:.2f})"

    edges = ("body.0.", f"body.{len(model.body) - 1}.")
    mean = run.fit(work, "upscaler", model, loss_of, minutes, batch, (3e-3, 1e-3), edges, slowest=0.995, check=check)
    run.log(work, f"upscaler done: {check(mean)}")
    save_upscaler(mean.cpu(), work / "upscaler")


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    train_upscaler(Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:])
