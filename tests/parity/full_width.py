"""Parity at Stable Diffusion 1.5's full width, on random weights.

    python full_width.py make OUT               # OUT: about 2.2 GB of float16 weights, and golden.safetensors
    fraise pack OUT PACK --quant f16
    xargs fraise generate --model PACK --device cpu --save FOUND.safetensors < OUT/request.txt
    node full_width.mjs OUT PACK                # the same in Chromium
    python full_width.py compare OUT FOUND.safetensors

The folder holds the layers of Stable Diffusion 1.5 at their real sizes (text encoder ViT-L/14, UNet, KL decoder) with
weights drawn as in make_models.py; only the tokenizer is goldens/tiny_sd's. The reference runs in float32 on weights
rounded to float16. The bounds are ten times those of the tiny models: sums are up to a hundred times longer.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from make_models import SD_SCHEDULE, picture_range, pipeline_run, randomise, save_module, save_text_encoder, write_index

TINY = Path(__file__).parent / "goldens" / "tiny_sd"
REQUEST = {"prompt": "a photo of the red strawberry", "negative": "", "steps": 2, "guidance": 1.0, "seed": 42}
SIDE_PX = 512
LATENTS_TOLERANCE = 1e-2  # of their standard deviation
IMAGE_TOLERANCE = 10 / 255  # mean


class FullWidth:
    """What `write_index` wants to know."""

    def __init__(self, folder):
        self.folder = folder
        self.text_encoder = randomise(
            CLIPTextModel(
                CLIPTextConfig(
                    hidden_size=768,
                    intermediate_size=3072,
                    num_hidden_layers=12,
                    num_attention_heads=12,
                    hidden_act="quick_gelu",
                    vocab_size=49408,
                    max_position_embeddings=77,
                )
            ),
            1,
        )
        self.unet = randomise(UNet2DConditionModel(sample_size=64, cross_attention_dim=768), 2)
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        )
        self.vae = picture_range(randomise(vae, 3), vae.decoder.conv_out, 0.0)
        self.scheduler = DDIMScheduler(**SD_SCHEDULE)


def make(out, side_px):
    torch.set_grad_enabled(False)
    out.mkdir(parents=True)
    shutil.copytree(TINY / "tokenizer", out / "tokenizer")
    model = FullWidth(out)
    save_text_encoder(model.text_encoder, out / "text_encoder")
    save_module(model.unet, out / "unet", "diffusion_pytorch_model.safetensors")
    save_module(model.vae, out / "vae", "diffusion_pytorch_model.safetensors")
    model.scheduler.save_pretrained(out / "scheduler")
    write_index(model, "StableDiffusionPipeline", {"feature_extractor": [None, None], "safety_checker": [None, None]})
    pipeline = StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(out / "tokenizer"),
        unet=model.unet,
        scheduler=model.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    request = REQUEST | {"width": side_px, "height": side_px}
    steps = pipeline_run(pipeline, request, torch.Generator("cpu").manual_seed(request["seed"]))
    image = model.vae.decode(steps[-1] / model.vae.config.scaling_factor).sample
    image = pipeline.image_processor.postprocess(image, output_type="pt")
    tensors = {"steps": torch.cat(steps), "final_latents": steps[-1].contiguous(), "image": image.contiguous()}
    save_file(tensors, out / "golden.safetensors")
    words = {key: value for key, value in request.items() if key != "negative"}
    text = " ".join(f"--{key} {json.dumps(value) if key == 'prompt' else value}" for key, value in words.items())
    (out / "request.txt").write_text(text + "\n")
    print(f"{out}: latents std {steps[-1].std():.3f}, image std {image.std():.3f}")


def compare(out, found):
    expected, found = load_file(out / "golden.safetensors"), load_file(found)
    latents = (found["final_latents"] - expected["final_latents"]).abs().max() / expected["final_latents"].std()
    image = (found["image"] - expected["image"]).abs().mean()
    print(f"final latents: {latents:.1e} of their standard deviation ({LATENTS_TOLERANCE:.0e} allowed)")
    print(f"image: {image * 255:.4f}/255 on average ({IMAGE_TOLERANCE * 255:.0f}/255 allowed)")
    # Not `>`, which a NaN would pass.
    if not (latents <= LATENTS_TOLERANCE and image <= IMAGE_TOLERANCE):
        sys.exit("too far from the reference")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("verb", choices=("make", "compare"))
    arguments.add_argument("out", type=Path)
    arguments.add_argument("found", type=Path, nargs="?")
    arguments.add_argument("--side", type=int, default=SIDE_PX)
    options = arguments.parse_args()
    if options.verb == "make":
        make(options.out, options.side)
    else:
        compare(options.out, options.found)


if __name__ == "__main__":
    main()
