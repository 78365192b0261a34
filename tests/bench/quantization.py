"""How far every quantization takes a model's pictures from those of its floats.

    python quantization.py FRAISE SOURCE [--prompts 8] [--work FOLDER] [--levels]

FRAISE is the command line's binary. SOURCE is a diffusers folder, or a pack of which no floats are left. A pack's
integers would be found again by rounding, so every number of a quantized weight is first moved by a seeded uniform
random part of its rounding step: floats that the pack is a rounding of, as far from it as the lost ones were. Packs the
floats with every scheme, paints each pack's example prompts from the same noise, and prints a Markdown table against
`f16`. With `--levels`, a second table has the UNet's levels one by one at q4 and all else at f16: where in the model
rounding harms most. Needs numpy and safetensors.
"""

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load, load_file, save_file

BLOCK = 32
SCHEMES = ("f16", "q8", "mixed", "q4")
FOLDERS = {"text_encoder": ("text_encoder",), "unet": ("unet",), "vae": ("vae_decoder", "vae_encoder")}


def component(pack, manifest, name, with_q4=False):
    """A component's tensors, each with its scales [blocks, 1] where it is quantized; q4's have lost their shape."""
    pieces = manifest["components"][name]["pieces"]
    file = b"".join((pack / f"{piece['sha256']}.bin").read_bytes() for piece in pieces)
    length = int.from_bytes(file[:8], "little")
    metadata = json.loads(file[8 : 8 + length]).get("__metadata__", {})
    quantized = json.loads(metadata.get("quantization", "{}"))
    tensors = load(file)
    for key, tensor in tensors.items():
        if key.removesuffix(".scales") not in quantized:
            yield key, tensor, None
        elif key in quantized:
            if quantized[key] == "q4":
                if not with_q4:
                    raise SystemExit(f"{key} is q4, of which the shape is lost; give a pack of f16 or q8")
                tensor = np.stack([tensor & 15, tensor >> 4], -1).reshape(len(tensor), -1).astype(np.int8) - np.int8(8)
            yield key, tensor, tensors[f"{key}.scales"].astype(np.float32).reshape(-1, 1)


def unpack(pack, out):
    """Writes the pack as a diffusers folder of float32 that it could have been made from."""
    manifest = json.loads((pack / "manifest.json").read_text("utf-8"))
    generator = np.random.default_rng(0)
    for folder, names in FOLDERS.items():
        (out / folder).mkdir(parents=True)
        tensors = {}
        for name in (name for name in names if name in manifest["components"]):
            for key, tensor, scales in component(pack, manifest, name):
                if scales is not None:
                    blocks = tensor.astype(np.float32).reshape(-1, BLOCK)
                    blocks += generator.random(blocks.shape, dtype=np.float32) - np.float32(0.5)
                    tensor = (blocks * scales).reshape(tensor.shape)
                tensors[key] = tensor
            config = manifest["components"][name]["config"]
        file = "model" if folder == "text_encoder" else "diffusion_pytorch_model"
        save_file(tensors, out / folder / f"{file}.safetensors")
        (out / folder / "config.json").write_text(json.dumps(config), "utf-8")
    for folder in ("tokenizer", "scheduler"):
        (out / folder).mkdir()
    for key, tensor, _ in component(pack, manifest, "tokenizer"):
        (out / "tokenizer" / key).write_bytes(tensor.tobytes())
    config = manifest["components"]["tokenizer"]["config"]
    (out / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    (out / "scheduler" / "scheduler_config.json").write_text(json.dumps(manifest["scheduler"]), "utf-8")
    (out / "model_index.json").write_text(json.dumps({"_class_name": manifest["pipeline"]}), "utf-8")
    kept = {key: manifest[key] for key in ("name", "license", "source", "recommended", "examples")}
    (out / "fraise.json").write_text(json.dumps(kept), "utf-8")


def run(*arguments):
    subprocess.run([str(argument) for argument in arguments], check=True, stdout=subprocess.DEVNULL)


def paint(fraise, pack, work, count):
    """Pictures [N, 3, H, W] in [0, 1] of the pack's example prompts, the prompts with seeds 0, 1, …"""
    examples = json.loads((pack / "manifest.json").read_text("utf-8"))["examples"]
    prompts = (examples["en"] + examples["zh"])[:count] or [""]
    images, saved = [], work / "saved.safetensors"
    for seed, prompt in enumerate(prompts):
        run(
            fraise, "generate", "--model", pack, "--prompt", prompt, "--seed", seed, "--device", "cpu",
            "--save", saved, "-o", work / "picture.png",
        )  # fmt: skip
        images.append(load_file(saved)["image"][0])
    return np.stack(images)


def psnr(images, exact):
    """Decibels, one per picture."""
    errors = ((images.astype(np.float64) - exact) ** 2).mean((1, 2, 3))
    return -10 * np.log10(np.maximum(errors, 1e-12))


def row(scheme, report, decibels):
    """One line of the table: bytes, shares, the UNet's errors, pictures."""
    weights = [tensor for tensor in report["tensors"] if tensor["scheme"] != "file"]
    unet = [tensor for tensor in weights if tensor["component"] == "unet" and len(tensor["shape"]) > 1]
    errors = np.array([tensor["relative_error"] for tensor in unet])
    elements = sum(tensor["elements"] for tensor in unet)
    share = sum(tensor["elements"] for tensor in unet if tensor["scheme"] == "q4") / elements
    pictures = "reference" if decibels is None else f"{decibels.mean():.1f} (least {decibels.min():.1f})"
    return (
        f"| `{scheme}` | {report['total_bytes'] / 2**20:.1f} | {share:.0%} | {errors.mean():.4f} | {errors.max():.4f} "
        f"| {pictures} |"
    )


def level(name, innermost):
    """The place of a UNet's weight, as the engine's `mixed` counts it."""
    block = re.match(r"(down|up)_blocks\.(\d+)", name)
    if block:
        index = int(block[2]) if block[1] == "down" else innermost - int(block[2])
        return "outermost" if index == 0 else f"{index} further in"
    return "mid block" if name.startswith("mid_block") else "no level (time embedding)"


def measure_levels(fraise, source, work, exact):
    """Packs at f16 what q4 makes of one level's weights, and paints."""
    path = work / "level" / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copytree(source, work / "level", dirs_exist_ok=True)
    floats = load_file(path)
    pack = work / "q4"
    manifest = json.loads((pack / "manifest.json").read_text("utf-8"))
    rounded = {
        key: ((tensor.reshape(-1, BLOCK) * scales).reshape(floats[key].shape), scales)
        for key, tensor, scales in component(pack, manifest, "unet", with_q4=True)
        if scales is not None
    }
    innermost = max(int(index) for index in re.findall(r"down_blocks\.(\d+)", " ".join(floats)))
    levels = {key: level(key, innermost) for key in rounded}
    print("\n| UNet level at q4, all else f16 | weights | numbers | picture PSNR, dB |\n|---|---|---|---|")
    for place in sorted(set(levels.values())):
        chosen = {key: rounded[key][0] for key in rounded if levels[key] == place}
        save_file({**floats, **chosen}, path)
        run(fraise, "pack", work / "level", work / "level_pack", "--quant", "f16")
        decibels = psnr(paint(fraise, work / "level_pack", work, len(exact)), exact)
        numbers = sum(tensor.size for tensor in chosen.values()) / 1e6
        pictures = f"{decibels.mean():.1f} (least {decibels.min():.1f})"
        print(f"| {place} | {len(chosen)} | {numbers:.2f} M | {pictures} |", flush=True)


def measure(fraise, source, work, count, with_levels):
    if (source / "manifest.json").exists():
        floats = work / "floats"
        unpack(source, floats)
        source = floats
    print("| scheme | pack, MiB | UNet weights at q4 | relative error, mean | greatest | picture PSNR, dB |")
    print("|---|---|---|---|---|---|")
    exact = None
    for scheme in SCHEMES:
        pack, report = work / scheme, work / f"{scheme}.json"
        run(fraise, "pack", source, pack, "--quant", scheme, "--report", report)
        images = paint(fraise, pack, work, count)
        decibels = None if exact is None else psnr(images, exact)
        exact = images if exact is None else exact
        print(row(scheme, json.loads(report.read_text("utf-8")), decibels), flush=True)
    if with_levels:
        measure_levels(fraise, source, work, exact)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("fraise", type=Path)
    arguments.add_argument("source", type=Path)
    arguments.add_argument("--prompts", type=int, default=8, help="example prompts painted (default 8)")
    arguments.add_argument("--work", type=Path, help="folder for floats, packs and reports (default: a temporary one)")
    arguments.add_argument("--levels", action="store_true", help="also the UNet's levels one by one")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        measure(options.fraise, options.source, work, options.prompts, options.levels)


if __name__ == "__main__":
    main()
