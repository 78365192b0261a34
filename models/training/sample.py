"""Pictures from an exported folder, exactly as the engine makes them: seeded noise, guidance (none at 1), flow Euler,
decoder, upscaler."""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

import tokenizer as bpe
from patch import AutoencoderPatch
from upscaler import SRVGGNetCompact


class Painter:
    def __init__(self, folder: Path, device: str = "cpu"):
        self.device = device
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.text = CLIPTextModel.from_pretrained(folder / "text_encoder").to(device).eval()
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet").to(device).eval()
        self.vae = AutoencoderPatch.load(folder / "vae").to(device).eval()
        self.upscaler = None
        if (folder / "upscaler").exists():
            self.upscaler = SRVGGNetCompact(**json.loads((folder / "upscaler" / "config.json").read_text())).to(device).eval()
            self.upscaler.load_state_dict(load_file(folder / "upscaler" / "diffusion_pytorch_model.safetensors"))
        self.scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")

    def encode(self, prompts: list[str]) -> torch.Tensor:
        return self.text(bpe.encode(self.tokenizer, prompts).to(self.device)).last_hidden_state

    @torch.no_grad()
    def latents(self, prompts: list[str], steps: int, guidance: float, seed: int = 0) -> torch.Tensor:
        """Final latents [N, C, h, w]; prompt i starts from `torch.Generator("cpu").manual_seed(seed + i)`."""
        side, channels = self.unet.config.sample_size, self.unet.config.in_channels
        generators = [torch.Generator("cpu").manual_seed(seed + i) for i in range(len(prompts))]
        x = torch.cat([torch.randn(1, channels, side, side, generator=g) for g in generators]).to(self.device)
        context = self.encode(prompts)
        both = torch.cat([self.encode([""] * len(prompts)), context]) if guidance != 1 else None
        scheduler = self.scheduler
        if steps == 1:  # one step alone cannot be stretched to end elsewhere: diffusers would divide by nothing
            scheduler = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config, shift_terminal=None)
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps:
            if both is None:
                velocity = self.unet(x, t, context).sample
            else:
                without, with_text = self.unet(torch.cat([x, x]), t, both).sample.chunk(2)
                velocity = without + guidance * (with_text - without)
            x = scheduler.step(velocity, t, x).prev_sample
        return x

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, upscale: bool = False) -> np.ndarray:
        """uint8 [N, H, W, 3]; twice as large with `upscale`."""
        pixels = (self.vae.decoder(latents).float().clamp(-1, 1) + 1) / 2
        if upscale:
            pixels = self.upscaler(pixels).clamp(0, 1)
        return (pixels * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()

    def paint(self, prompts: list[str], steps: int, guidance: float, seed: int = 0, upscale: bool = False, batch: int = 30) -> np.ndarray:
        parts = [
            self.decode(self.latents(prompts[i : i + batch], steps, guidance, seed + i), upscale)
            for i in range(0, len(prompts), batch)
        ]
        return np.concatenate(parts)
