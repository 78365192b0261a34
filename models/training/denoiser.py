"""Stage 4: latents of all renders, then text encoder and UNet together, by rectified flow.

x_t = (1 - t) x + t noise, the UNet sees t * 1000 and predicts noise - x: what diffusers'
`FlowMatchEulerDiscreteScheduler` integrates. Captions are dropped to "" one time in ten, for guidance.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

import run
import tokenizer as bpe
from captions import caption
from latents import CHANNELS
from render import load_latents
from scenes import draw_scene

BATCH = 48
DROP_CAPTION = 0.1
CAPTIONS_PER_PICTURE = 6
EDGES = ("embedding", "conv_in", "conv_out")  # trained by AdamW
WIDTH_TEXT = 192
UNET = {
    "sample_size": 8,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "block_out_channels": (128, 160),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": WIDTH_TEXT,
    "attention_head_dim": 4,  # diffusers' name for the number of heads
}


class Denoiser(nn.Module):
    def __init__(self, vocabulary: int, end_id: int, start_id: int):
        super().__init__()
        self.text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=vocabulary, hidden_size=WIDTH_TEXT, intermediate_size=4 * WIDTH_TEXT, num_hidden_layers=2,
                num_attention_heads=4, max_position_embeddings=bpe.MAX_LENGTH, hidden_act="quick_gelu",
                bos_token_id=start_id, eos_token_id=end_id, pad_token_id=end_id, projection_dim=WIDTH_TEXT,
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


def prepare_captions(work: Path, count: int, seed: int = 1) -> dict:
    """Tokenizer and token ids, int16 [count, CAPTIONS_PER_PICTURE, MAX_LENGTH], of the scenes that `render` draws from
    `seed`; cached in `work/captions.pt`."""
    cache = work / "captions.pt"
    if cache.exists():
        return torch.load(cache)
    scenes = [draw_scene(np.random.default_rng((seed, i))) for i in range(count)]
    captions = [caption(s, np.random.default_rng((2, i, k))) for i, s in enumerate(scenes) for k in range(CAPTIONS_PER_PICTURE)]
    tokenizer = bpe.save(work / "tokenizer", [words for words, _ in captions])
    ids = bpe.encode(tokenizer, [text for _, text in captions]).short()
    data = {"ids": ids.view(count, CAPTIONS_PER_PICTURE, -1), "empty": bpe.encode(tokenizer, [""]),
            "vocabulary": len(tokenizer), "end": tokenizer.eos_token_id, "start": tokenizer.bos_token_id}
    run.save(cache, data)
    run.log(work, f"captions: {len(ids)}, {data['vocabulary']} tokens")
    return data


def load_data(work: Path, count: int) -> dict:
    """Captions, and the latents that are rendered so far."""
    return prepare_captions(work, count) | {"latents": torch.from_numpy(load_latents(work / "renders")[0])}


def train(work: Path, data: dict, minutes: float, device: str) -> Denoiser:
    """Trains for `minutes`, resuming from `work/denoiser.pt`; returns the running mean of the weights."""
    torch.manual_seed(3)
    model = Denoiser(data["vocabulary"], data["end"], data["start"]).to(device, memory_format=torch.channels_last)
    return run.fit(work, "denoiser", model, lambda generator: flow_loss(model, data, generator, device), minutes, BATCH,
                   rates=(4e-3, 1e-3), edges=EDGES)  # fmt: skip


def draw_batch(data: dict, generator: torch.Generator, device: str) -> tuple[torch.Tensor, ...]:
    """(latents, noise, t, token ids) of a random batch; t is logit-normal, a little towards noise."""
    latents, ids = data["latents"], data["ids"]  # renders may still be growing: there can be more captions
    pick = torch.randint(len(latents), (BATCH,), generator=generator)
    which = torch.randint(CAPTIONS_PER_PICTURE, (BATCH,), generator=generator)
    x = latents[pick].float()
    noise = torch.randn(x.shape, generator=generator)
    t = torch.sigmoid(0.2 + torch.randn(BATCH, generator=generator))
    return x.to(device), noise.to(device), t.to(device), ids[pick, which].long().to(device)


def flow_loss(model: Denoiser, data: dict, generator: torch.Generator, device: str) -> torch.Tensor:
    x, noise, t, tokens = draw_batch(data, generator, device)
    tokens[torch.rand(BATCH, generator=generator) < DROP_CAPTION] = data["empty"]
    mix = t[:, None, None, None]
    noisy = ((1 - mix) * x + mix * noise).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device, torch.bfloat16):
        velocity = model(noisy, t, tokens)
    return ((velocity.float() - (noise - x)) ** 2).mean()
