"""Stage 6: a CLIP-style scorer: how well a picture fits a prompt, on the pack's own text encoder.

The image tower is a small `CLIPVisionModelWithProjection`; the text tower is the trained text encoder, frozen, with a
projection of its own. Both learn by CLIP's contrastive loss
(Radford et al., arXiv:2103.00020) on renders, half of them passed through latents with noise and the decoder.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

import run
from autoencoder import decode_noised, to_pixels
from render import load_pictures

BATCH = {"cpu": 96, "cuda": 384}
SIZE, PATCH, WIDTH, PROJECTION = 128, 16, 192, 128


class Scorer(nn.Module):
    def __init__(self, text_width: int):
        super().__init__()
        self.vision = CLIPVisionModelWithProjection(CLIPVisionConfig(
            hidden_size=WIDTH, intermediate_size=4 * WIDTH, projection_dim=PROJECTION, num_hidden_layers=4,
            num_attention_heads=4, image_size=SIZE, patch_size=PATCH, hidden_act="quick_gelu",
        ))  # fmt: skip
        self.text_projection = nn.Linear(text_width, PROJECTION, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.6))

    def pictures(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] in [-1, 1], reduced to SIZE → unit vectors."""
        pixels = F.interpolate(pixels, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
        return F.normalize(self.vision(pixels).image_embeds.float(), dim=-1)

    def prompts(self, pooled: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.text_projection(pooled).float(), dim=-1)


def save_scorer(model: Scorer, folder: Path) -> None:
    model.vision.save_pretrained(folder)
    weights = {name: value.contiguous() for name, value in model.vision.state_dict().items()}
    weights |= {"text_projection.weight": model.text_projection.weight.detach(), "logit_scale": model.logit_scale.detach()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@torch.no_grad()
def _pooled(text: CLIPTextModel, ids: torch.Tensor) -> torch.Tensor:
    """Pooled outputs of token ids [..., L], in float16."""
    flat = ids.flatten(0, -2).long()
    return torch.cat([text(part).pooler_output.half() for part in flat.split(512)]).view(*ids.shape[:-1], -1)


def train_scorer(work: Path, text: CLIPTextModel, minutes: float, device: str = "cpu") -> None:
    """Trains for `minutes` on the model's text encoder, and writes `work/scorer`."""
    torch.manual_seed(8)
    pictures, latents, tokens = load_pictures(work / "renders")
    decoded = decode_noised(work, latents[: len(pictures) // 2], seed=31, device=device)
    pooled = _pooled(text.eval().to(device), torch.from_numpy(tokens).to(device))
    scorer, batch = Scorer(pooled.shape[-1]).to(device), BATCH[device]
    held = slice(len(pictures) - 512, len(pictures))  # never trained

    def similarities(model: Scorer, shown: np.ndarray, features: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16):
            seen = model.pictures(to_pixels(shown, device))
        return seen @ model.prompts(features.float()).T

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        pick = torch.randint(held.start, (batch,), generator=generator, device=device)
        which = torch.randint(pooled.shape[1], (batch,), generator=generator, device=device)
        through = (pick < len(decoded)) & (torch.rand(batch, generator=generator, device=device) < 0.7)
        places, through = pick.cpu().numpy(), through.cpu().numpy()
        shown = pictures[places]
        shown[through] = decoded[places[through]]
        logits = similarities(scorer, shown, pooled[pick, which]) * scorer.logit_scale.exp().clamp(max=100)
        truth = torch.arange(batch, device=device)
        return (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2

    @torch.no_grad()
    def check(mean: Scorer) -> str:
        order = similarities(mean, pictures[held], pooled[held, 0])
        right = [(part.argmax(1) == torch.arange(32, device=device)).float().mean().item()
                 for part in (order[i : i + 32, i : i + 32] for i in range(0, 512, 32))]  # fmt: skip
        return f"the right caption of 32 in {100 * np.mean(right):.1f} %"

    edges = ("embedding", "visual_projection", "text_projection", "logit_scale")
    mean = run.fit(work, "scorer", scorer, loss_of, minutes, batch, (3e-3, 1e-3), edges, slowest=0.99, check=check)
    run.log(work, f"scorer done: {check(mean)}")
    save_scorer(mean.cpu(), work / "scorer")
