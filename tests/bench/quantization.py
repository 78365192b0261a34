"""How far every quantization takes a model's pictures from those of its floats.

    python quantization.py FRAISE SOURCE [--prompts 8] [--work FOLDER]

FRAISE is the command line's binary. SOURCE is a diffusers folder, or a pack of which no floats are left. A pack's integers
would be found again by rounding, so every number of a quantized weight is first moved by a seeded uniform random part of
its rounding step: floats that the pack is a rounding of, as far from it as the lost ones were. Packs the floats with every
scheme, paints each pack's example prompts from the same noise, and prints a Markdown table against `f16`.
Needs numpy and safetensors.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load, load_file, save_file

BLOCK = 32
SCHEMES = ("f16", "q8", "mixed", "q4")
FOLDERS = {"text_encoder": ("text_encoder",), "unet": ("unet",), "vae": ("vae_decoder", "vae_encoder")}


def component(pack, manifest, name):
    """A component's tensors, each with its scales [blocks] where it is quantized."""
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
            if quantized[key] != "q8":
                raise SystemExit(f"{key} is {quantized[key]}: its shape is lost; give a pack of f16 or q8")
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


def measure(fraise, source, work, count):
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


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("fraise", type=Path)
    arguments.add_argument("source", type=Path)
    arguments.add_argument("--prompts", type=int, default=8, help="example prompts painted (default 8)")
    arguments.add_argument("--work", type=Path, help="folder for floats, packs and reports (default: a temporary one)")
    options = arguments.parse_args()
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
        return measure(options.fraise, options.source, options.work, options.prompts)
    with tempfile.TemporaryDirectory() as work:
        measure(options.fraise, options.source, Path(work), options.prompts)


if __name__ == "__main__":
    main()
