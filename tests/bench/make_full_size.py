"""Writes a diffusers folder of full size with random weights, for `fraise pack` to be measured on.

    python make_full_size.py sd15|sdxl OUT
    fraise pack OUT PACK --quant mixed --report REPORT.json

These stand in for trained weights: float16, normal with unit fan-in gain, and the spread of every output and of every
input channel drawn from a log-normal of 0.35, for the heavier tails that training gives. Sizes are those of any
checkpoint of the family; errors are those of such numbers. Tensors are drawn and written one by one: 2.1 GB and 6.9 GB
of files, under 2 GB of memory.
"""

import argparse
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

TINY = Path(__file__).parents[1] / "parity" / "goldens" / "tiny_sd"
CHANNEL_SPREAD = 0.35

VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
SDXL_UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def sd15():
    return {
        "text_encoder": CLIPTextModel(CLIPTextConfig(**CLIP_L)),
        "unet": UNet2DConditionModel(cross_attention_dim=768),
        "vae": AutoencoderKL(**VAE),
    }


def sdxl():
    return {
        "text_encoder": CLIPTextModel(CLIPTextConfig(**CLIP_L)),
        "text_encoder_2": CLIPTextModelWithProjection(
            CLIPTextConfig(**CLIP_G, hidden_act="gelu", projection_dim=1280)
        ),
        "unet": UNet2DConditionModel(**SDXL_UNET),
        "vae": AutoencoderKL(**VAE, scaling_factor=0.13025),
    }


FAMILIES = {"sd15": ("StableDiffusionPipeline", sd15), "sdxl": ("StableDiffusionXLPipeline", sdxl)}


def weight(shape, generator):
    """A matrix or a kernel of about unit gain, a norm's gain near one, a small bias."""
    if len(shape) == 1:
        return generator.normal(0, 0.1, shape).astype(np.float32)
    values = generator.standard_normal(shape, dtype=np.float32)
    values *= np.float32(np.prod(shape[1:]) ** -0.5)
    rows = generator.lognormal(0, CHANNEL_SPREAD, shape[0]).astype(np.float32)
    columns = generator.lognormal(0, CHANNEL_SPREAD, shape[1]).astype(np.float32)
    values *= rows.reshape(-1, *[1] * (len(shape) - 1))
    values *= columns.reshape(1, -1, *[1] * (len(shape) - 2))
    return values


def write_random(shapes, path, generator):
    """One safetensors file of float16 tensors, written tensor by tensor."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            gain = 1 if len(shape) == 1 and "norm" in name and name.endswith("weight") else 0
            file.write((weight(shape, generator) + np.float32(gain)).astype("<f2").tobytes())


def write_folder(pipeline, models, out):
    """A diffusers folder of these models with random weights; the models themselves may be without memory."""
    generator = np.random.default_rng(0)
    shutil.copytree(TINY / "scheduler", out / "scheduler")
    for name, model in models.items():
        (out / name).mkdir()
        config = model.config if name.startswith("text_encoder") else model
        (out / name / "config.json").write_text(config.to_json_string(), "utf-8")
        file = "model" if name.startswith("text_encoder") else "diffusion_pytorch_model"
        shapes = {key: tuple(tensor.shape) for key, tensor in sorted(model.state_dict().items())}
        write_random(shapes, out / name / f"{file}.safetensors", generator)
        print(f"{name}: {sum(int(np.prod(shape)) for shape in shapes.values()):,} numbers", flush=True)
        if name.startswith("text_encoder"):
            shutil.copytree(TINY / "tokenizer", out / name.replace("text_encoder", "tokenizer"))
    (out / "model_index.json").write_text(json.dumps({"_class_name": pipeline}), "utf-8")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("family", choices=FAMILIES)
    arguments.add_argument("out", type=Path)
    options = arguments.parse_args()
    pipeline, models = FAMILIES[options.family]
    with torch.device("meta"):  # shapes and no memory
        models = models()
    write_folder(pipeline, models, options.out)


if __name__ == "__main__":
    main()
