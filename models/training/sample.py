"""Pictures from an exported folder, exactly as the engine makes them: seeded noise, guidance (none at 1), flow Euler,
decoder."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

import tokenizer as bpe


class Painter:
    def __init__(self, folder: Path, device: str = "cpu"):
        self.device = device
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.text = CLIPTextModel.from_pretrained(folder / "text_encoder").to(device).eval()
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet").to(device).eval()
        self.vae = AutoencoderTiny.from_pretrained(folder / "vae").to(device).eval()
        self.scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")

    def encode(self, prompts: list[str]) -> torch.Tensor:
        return self.text(bpe.encode(self.tokenizer, prompts).to(self.device)).last_hidden_state

    @torch.no_grad()
    def latents(self, prompts: list[str], steps: int, guidance: float, seed: int = 0) -> torch.Tensor:
        """Final latents [N, C, 8, 8]; prompt i starts from `torch.Generator("cpu").manual_seed(seed + i)`."""
        side, channels = self.unet.config.sample_size, self.unet.config.in_channels
        generators = [torch.Generator("cpu").manual_seed(seed + i) for i in range(len(prompts))]
        x = torch.cat([torch.randn(1, channels, side, side, generator=g) for g in generators]).to(self.device)
        context = self.encode(prompts)
        both = torch.cat([self.encode([""] * len(prompts)), context]) if guidance != 1 else None
        self.scheduler.set_timesteps(steps)
        for t in self.scheduler.timesteps:
            if both is None:
                velocity = self.unet(x, t, context).sample
            else:
                without, with_text = self.unet(torch.cat([x, x]), t, both).sample.chunk(2)
                velocity = without + guidance * (with_text - without)
            x = self.scheduler.step(velocity, t, x).prev_sample
        return x

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """uint8 [N, H, W, 3]."""
        pixels = self.vae.decoder(latents).float().clamp(-1, 1)
        return ((pixels + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()

    def paint(self, prompts: list[str], steps: int, guidance: float, seed: int = 0, batch: int = 30) -> np.ndarray:
        parts = [
            self.decode(self.latents(prompts[i : i + batch], steps, guidance, seed + i))
            for i in range(0, len(prompts), batch)
        ]
        return np.concatenate(parts)
