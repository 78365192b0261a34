"""Stages 3 and 4: latents of all renders, then text encoder and UNet together, by rectified flow.

x_t = (1 - t) x + t noise, the UNet sees t * 1000 and predicts noise - x: what diffusers'
`FlowMatchEulerDiscreteScheduler` integrates. Captions are dropped to "" one time in ten, for guidance.
"""

import copy
import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

import run
import tokenizer as bpe
from autoencoder import to_pixels
from captions import caption
from optimizer import Muon
from render import load

BATCH = 64
DROP_CAPTION = 0.1
CAPTIONS_PER_PICTURE = 6
WIDTH_TEXT = 192
UNET = {
    "sample_size": 8,
    "in_channels": 16,
    "out_channels": 16,
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


def write_captions(scenes: list, seed: int) -> list[list[tuple[list[str], str]]]:
    """Several captions, English and Chinese, for each scene; always the same for a seed."""
    return [
        [caption(scene, np.random.default_rng((seed, i, k))) for k in range(CAPTIONS_PER_PICTURE)]
        for i, scene in enumerate(scenes)
    ]


@torch.no_grad()
def encode_all(vae: AutoencoderTiny, pictures: np.ndarray, device: str) -> torch.Tensor:
    """Latents of all pictures, float16 [N, 16, 8, 8]."""
    parts = []
    for i in range(0, len(pictures), 100):
        with torch.autocast(device, torch.bfloat16):
            parts.append(vae.encoder(to_pixels(pictures[i : i + 100], device)).half().cpu())
    return torch.cat(parts)


def prepare_captions(work: Path, scenes: list) -> dict:
    """Tokenizer and token ids, int16 [N, CAPTIONS_PER_PICTURE, MAX_LENGTH]; cached in `work/captions.pt`."""
    cache = work / "captions.pt"
    if cache.exists():
        return torch.load(cache)
    captions = write_captions(scenes, seed=2)
    tokenizer = bpe.save(work / "tokenizer", [words for row in captions for words, _ in row])
    ids = torch.cat([bpe.encode(tokenizer, [text for _, text in row]).short() for row in captions])
    data = {"ids": ids.view(len(scenes), CAPTIONS_PER_PICTURE, -1), "empty": bpe.encode(tokenizer, [""]),
            "vocabulary": len(tokenizer), "end": tokenizer.eos_token_id, "start": tokenizer.bos_token_id}
    run.save(cache, data)
    run.log(work, f"captions: {len(ids)}, {data['vocabulary']} tokens")
    return data


def prepare(work: Path, renders: Path, device: str) -> dict:
    """What the denoiser trains on: captions, and the latents of all pictures, cached in `work/latents.pt`."""
    pictures, scenes = load(renders)
    cache = work / "latents.pt"
    if not cache.exists():
        vae = AutoencoderTiny.from_pretrained(work / "vae").to(device, memory_format=torch.channels_last).eval()
        latents = encode_all(vae, pictures, device)
        run.save(cache, {"latents": latents})
        run.log(work, f"latents: {tuple(latents.shape)}, deviation {latents.float().std():.3f}")
    return prepare_captions(work, scenes) | torch.load(cache)


def train(work: Path, data: dict, minutes: float, device: str, peak: float = 1.0, name: str = "denoiser") -> Denoiser:
    """Trains for `minutes`, resuming from `work/denoiser.pt`; returns the running mean of the weights."""
    torch.manual_seed(3)
    model = Denoiser(data["vocabulary"], data["end"], data["start"]).to(device, memory_format=torch.channels_last)
    mean = copy.deepcopy(model).requires_grad_(False)
    optimizer = Muon(model, 5e-3 * peak, 1e-3 * peak, edges=("embedding", "conv_in", "conv_out"))
    checkpoint, step, seconds = work / f"{name}.pt", 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        model.load_state_dict(state["model"])
        mean.load_state_dict(state["mean"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    clock, first, total = run.Clock(minutes, seconds), step, 0.0
    generator = torch.Generator().manual_seed(1000 + step)
    latents, ids, empty = data["latents"], data["ids"], data["empty"]

    def keep() -> None:
        run.save(checkpoint, {"model": model.state_dict(), "mean": mean.state_dict(), "step": step,
                              "optimizer": optimizer.state_dict(), "seconds": clock.seconds})

    while clock.fraction < 1:
        optimizer.scale(run.learning_rate(1.0, step, clock.fraction))
        pick = torch.randint(len(latents), (BATCH,), generator=generator)
        which = torch.randint(CAPTIONS_PER_PICTURE, (BATCH,), generator=generator)
        tokens = ids[pick, which].long()
        tokens[torch.rand(BATCH, generator=generator) < DROP_CAPTION] = empty
        x = latents[pick].float()
        noise = torch.randn(x.shape, generator=generator)
        t = torch.sigmoid(torch.randn(BATCH, generator=generator))
        mix = t[:, None, None, None]
        noisy = ((1 - mix) * x + mix * noise).to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            velocity = model(noisy, t.to(device), tokens.to(device))
        loss = ((velocity.float() - (noise - x).to(device)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        run.update_mean(mean, model, step, 0.998)
        step, total = step + 1, total + loss.item()
        if not math.isfinite(total):
            raise RuntimeError(f"the loss is not finite at step {step}; the last checkpoint is {checkpoint}")
        if step % 50 == 0:
            rate = (step - first) * BATCH / (clock.seconds - seconds)
            run.log(work, f"{name} step {step} loss {total / 50:.4f} {rate:.1f} samples/s {clock.seconds:.0f} s")
            total = 0.0
        if step % 200 == 0:
            keep()
    keep()
    return mean.eval()
