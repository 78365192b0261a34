"""`AutoencoderPatch`: pictures in patches, each with one latent. The engine's `autoencoder/patch.rs` is compared with it.

Encoding is one convolution whose stride is its size. Decoding adds two pictures: the best linear one, each latent to its
patch, and the detail of a small network that works at the latents' resolution and at that of its features.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

WEIGHTS = "diffusion_pytorch_model.safetensors"


class ResidualBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class PatchDecoder(nn.Module):
    """Latents [N, C, h, w] → pixels in about [-1, 1], [N, 3, h * patch_size, w * patch_size]."""

    def __init__(self, config: dict):
        super().__init__()
        channels, patch, side = config["latent_channels"], config["patch_size"], config["feature_patch_size"]
        self.patch, self.side = patch, side
        self.linear = nn.Conv2d(channels, config["in_channels"] * patch**2, 1)
        self.conv_in = nn.Conv2d(channels, config["latent_width"], 3, padding=1)
        self.latent_blocks = nn.ModuleList(ResidualBlock(config["latent_width"]) for _ in range(config["num_latent_blocks"]))
        self.expand = nn.Conv2d(config["latent_width"], config["width"] * side**2, 1)
        self.blocks = nn.ModuleList(ResidualBlock(config["width"]) for _ in range(config["num_blocks"]))
        self.conv_out = nn.Conv2d(config["width"], config["in_channels"] * (patch // side) ** 2, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        h = self.conv_in(z)
        for block in self.latent_blocks:
            h = block(h)
        h = F.pixel_shuffle(self.expand(F.silu(h)), self.side)
        for block in self.blocks:
            h = block(h)
        detail = F.pixel_shuffle(self.conv_out(F.silu(h)), self.patch // self.side)
        return F.pixel_shuffle(self.linear(z), self.patch) + detail


class AutoencoderPatch(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.config = config
        self.encoder = nn.Conv2d(config["in_channels"], config["latent_channels"], config["patch_size"], config["patch_size"])
        self.decoder = PatchDecoder(config)

    @classmethod
    def load(cls, folder: Path) -> "AutoencoderPatch":
        model = cls(json.loads((folder / "config.json").read_text()))
        model.load_state_dict(load_file(folder / WEIGHTS))
        return model.eval()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config, indent=2) + "\n")
        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
