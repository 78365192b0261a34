"""Stage 3: text encoder and UNet together, on the latents of all renders, by rectified flow.

x_t = (1 - t) x + t noise, the UNet sees t * 1000 and predicts noise - x: what diffusers'
`FlowMatchEulerDiscreteScheduler` integrates. Captions are dropped to "" one time in ten, for guidance.
"""

import time
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import run
import tokenizer as bpe
from latents import CHANNELS
from places import SIZE

BATCH = {"cpu": 48, "cuda": 768}
RATES = {"cpu": (4e-3, 1e-3), "cuda": (5e-3, 1.2e-3)}
DROP_CAPTION = 0.1
SIDE = SIZE // 16  # of the latents
EDGES = ("embedding", "conv_in", "conv_out")  # trained by AdamW
WIDTH_TEXT = 256
UNET = {
    "sample_size": SIDE,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "block_out_channels": (128, 192, 192),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": WIDTH_TEXT,
    "attention_head_dim": 4,  # diffusers' name for the number of heads
}


class Denoiser(nn.Module):
    def __init__(self, tokenizer: CLIPTokenizer):
        super().__init__()
        self.text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer), hidden_size=WIDTH_TEXT, intermediate_size=4 * WIDTH_TEXT, num_hidden_layers=3,
                num_attention_heads=4, max_position_embeddings=bpe.MAX_LENGTH, hidden_act="quick_gelu",
                bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.eos_token_id, projection_dim=WIDTH_TEXT,
            )  # fmt: skip
        )
        self.unet = UNet2DConditionModel(**UNET)
        nn.init.zeros_(self.unet.conv_out.weight)
        for module in self.unet.modules():  # residual branches start at zero, as in most diffusion recipes
            if type(module).__name__ == "ResnetBlock2D":
                nn.init.zeros_(module.conv2.weight)
            elif type(module).__name__ == "Transformer2DModel":
                nn.init.zeros_(module.proj_out.weight)

    def forward(self, latents: torch.Tensor, t: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return self.unet(latents, t * 1000, self.text(ids).last_hidden_state).sample


class Renders:
    """What is rendered so far of `work/renders`, on the device: `latents` and the token ids of their captions.

    `grow` takes in what has been painted since, so that training begins while the painter still paints.
    """

    GROW_SECONDS = 5

    def __init__(self, work: Path, device: str):
        self.folder, self.device, self.seen, self.grown = work / "renders", device, set(), 0.0
        self.latents = torch.zeros(0, CHANNELS, SIDE, SIDE, dtype=torch.float16, device=device)
        self.ids = torch.zeros(0, 0, bpe.MAX_LENGTH, dtype=torch.int16, device=device)
        self.empty = bpe.encode(bpe.load(work / "tokenizer"), [""]).to(device)
        self.grow()

    def grow(self) -> None:
        self.grown = time.monotonic()
        fresh = sorted(set(self.folder.glob("latents-*.npy")) - self.seen)
        if not fresh:
            return
        self.seen.update(fresh)
        latents, ids = (
            torch.from_numpy(np.concatenate([np.load(p.with_name(p.name.replace("latents", kind))) for p in fresh])).to(self.device)
            for kind in ("latents", "tokens")
        )
        self.latents = torch.cat([self.latents, latents])
        self.ids = torch.cat([self.ids, ids]) if len(self.ids) else ids

    def draw(self, batch: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """(latents, noise, token ids) of a random batch."""
        if time.monotonic() - self.grown > self.GROW_SECONDS:
            self.grow()
        pick = torch.randint(len(self.latents), (batch,), generator=generator, device=self.device)
        which = torch.randint(self.ids.shape[1], (batch,), generator=generator, device=self.device)
        x = self.latents[pick].float()
        noise = torch.randn(x.shape, generator=generator, device=self.device)
        return x, noise, self.ids[pick, which].long()


def train(work: Path, minutes: float, device: str) -> Denoiser:
    """Trains for `minutes`, resuming from `work/denoiser.pt`; returns the running mean of the weights."""
    torch.manual_seed(3)
    data, batch = Renders(work, device), BATCH[device]
    model = Denoiser(bpe.load(work / "tokenizer")).to(device, memory_format=torch.channels_last)
    run.compiled(model.unet)
    return run.fit(work, "denoiser", model, lambda generator: flow_loss(model, data, generator, batch), minutes, batch,
                   rates=RATES[device], edges=EDGES)  # fmt: skip


def flow_loss(model: Denoiser, data: Renders, generator: torch.Generator, batch: int) -> torch.Tensor:
    """The squared error of the velocity, at times that are logit-normal and lean towards noise."""
    x, noise, tokens = data.draw(batch, generator)
    t = torch.sigmoid(0.5 + torch.randn(batch, generator=generator, device=x.device))
    dropped = torch.rand(batch, 1, generator=generator, device=x.device) < DROP_CAPTION
    tokens = torch.where(dropped, data.empty, tokens)
    mix = t[:, None, None, None]
    noisy = ((1 - mix) * x + mix * noise).contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16):
        velocity = model(noisy, t, tokens)
    return ((velocity.float() - (noise - x)) ** 2).mean()
