"""Writes goldens/tiles.safetensors: tiny latents decoded by diffusers in overlapping tiles.

    python tests/parity/make_tiles.py        (needs torch 2.15, diffusers 0.42.1, safetensors)

The decoder is that of goldens/tiny_lcm/vae. Tiles have 8 latents a side instead of Stable Diffusion's 64, so that the
13 by 21 latents make whole tiles, cut ones, and one narrower than its overlap.
"""

import pathlib

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

GOLDENS = pathlib.Path(__file__).parent / "goldens"
TILE = 8


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    folder = GOLDENS / "tiny_lcm" / "vae"
    model = AutoencoderKL.from_config(AutoencoderKL.load_config(folder)).eval()
    loaded = model.load_state_dict(load_file(folder / "diffusion_pytorch_model.safetensors"), strict=False)
    # The golden model keeps its decoder alone.
    assert all(name.startswith(("encoder.", "quant_conv.")) for name in loaded.missing_keys), loaded.missing_keys
    assert not loaded.unexpected_keys
    model.enable_tiling()
    model.tile_latent_min_size = TILE
    model.tile_sample_min_size = TILE * 2 ** (len(model.config.block_out_channels) - 1)
    latents = torch.randn(1, model.config.latent_channels, 13, 21, generator=torch.Generator().manual_seed(7))
    tiled = model.decode(latents).sample
    model.disable_tiling()
    whole = model.decode(latents).sample
    assert (tiled - whole).abs().max() > 0.01, "tiling changes nothing here, so the golden would prove nothing"
    save_file({"latents": latents, "tiled": tiled.contiguous(), "whole": whole.contiguous()}, GOLDENS / "tiles.safetensors")


if __name__ == "__main__":
    main()
