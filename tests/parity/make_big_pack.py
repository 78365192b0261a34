"""Writes a large random-weight Stable Diffusion folder, to show that loading it needs no more memory than a small one.

    python make_big_pack.py OUT [--widths 192,384,768,768]
    fraise pack OUT PACK --quant f16

Only the UNet is large: at the default widths 620 MB of float16. Text encoder, decoder, tokenizer and scheduler are those
of goldens/tiny_sd. Tensors are drawn and written one after the other, so the script itself stays
under 1 GB (measured 0.9, most of it PyTorch and diffusers).
"""

import argparse
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel

TINY = Path(__file__).parent / "goldens" / "tiny_sd"


def big_unet(widths):
    """Stable Diffusion 1.x's layout at the given widths; on the meta device, so it has shapes and no memory."""
    with torch.device("meta"):
        return UNet2DConditionModel(
            sample_size=8,
            block_out_channels=widths,
            layers_per_block=2,
            attention_head_dim=8,
            cross_attention_dim=32,
            down_block_types=("CrossAttnDownBlock2D",) * (len(widths) - 1) + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (len(widths) - 1),
        )


def write_random(shapes, path):
    """One safetensors file of float16 tensors, each of about unit gain, written tensor by tensor."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    generator = np.random.default_rng(0)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            # The square root of three gives the uniform numbers the spread of a normal with unit fan-in gain.
            reach = (3 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1
            middle = 1 if len(shape) == 1 and name.endswith("weight") else 0  # a norm's gain
            values = generator.random(int(np.prod(shape)), dtype=np.float32)
            file.write((middle + (2 * values - 1) * np.float32(reach)).astype("<f2").tobytes())
    return 8 + len(text) + end


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--widths", default="192,384,768,768")
    options = arguments.parse_args()
    widths = tuple(int(width) for width in options.widths.split(","))
    shutil.copytree(TINY, options.out, ignore=shutil.ignore_patterns("golden", "unet"))
    unet = big_unet(widths)
    (options.out / "unet").mkdir()
    (options.out / "unet" / "config.json").write_text(unet.to_json_string(), "utf-8")
    shapes = {name: tuple(tensor.shape) for name, tensor in sorted(unet.state_dict().items())}
    written = write_random(shapes, options.out / "unet" / "diffusion_pytorch_model.safetensors")
    print(f"{options.out}: {written / 1e6:.0f} MB of UNet weights")


if __name__ == "__main__":
    main()
