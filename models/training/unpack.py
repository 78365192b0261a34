"""A pack back into a diffusers folder, with the pack's numbers: what visitors get, for `evaluate.py` and `card.py`.

    python unpack.py --pack ../fraise-1 --out work/quantized
"""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

BLOCK, SCALES = 32, ".scales"
_DTYPES = {"F32": np.float32, "F16": np.float16, "I8": np.int8}


def read_component(data: bytes) -> dict[str, torch.Tensor]:
    """All tensors of a component's file, its pieces in order, as float32; `q8` are blocks of 32 with a float16 scale each (`NAME.scales`)."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    quantized = json.loads(header.pop("__metadata__", {}).get("quantization", "{}"))
    raw = {}
    for name, info in header.items():
        start, end = (8 + size + offset for offset in info["data_offsets"])
        raw[name] = np.frombuffer(data[start:end], _DTYPES[info["dtype"]]).reshape(info["shape"])
    scales = {name: name + SCALES for name in quantized}
    out = {}
    for name, values in raw.items():
        if name in scales:
            scale = raw[scales[name]].astype(np.float32).reshape(-1, 1)
            values = (values.astype(np.float32).reshape(-1, BLOCK) * scale).reshape(values.shape)
        elif name in scales.values():
            continue
        out[name] = torch.from_numpy(values.astype(np.float32))
    return out


def _write_tokenizer(data: bytes, folder: Path, config: dict) -> None:
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt"):
        start, end = header[name]["data_offsets"]
        (folder / name).write_bytes(data[8 + size + start : 8 + size + end])
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    manifest = json.loads((args.pack / "manifest.json").read_text())
    folders: dict[str, tuple[dict, dict]] = {}
    for component, entry in manifest["components"].items():
        data = b"".join((args.pack / f"{piece['sha256']}.bin").read_bytes() for piece in entry["pieces"])
        if component == "tokenizer":
            _write_tokenizer(data, args.out / component, entry["config"])
            continue
        folder = "vae" if component.startswith("vae") else component
        tensors, _ = folders.setdefault(folder, ({}, entry["config"]))
        tensors |= read_component(data)
    for folder, (tensors, config) in folders.items():
        target = args.out / folder
        target.mkdir(parents=True, exist_ok=True)
        name = "model" if folder in ("text_encoder", "scorer") else "diffusion_pytorch_model"
        save_file(tensors, target / f"{name}.safetensors", metadata={"format": "pt"})
        (target / "config.json").write_text(json.dumps(config, indent=2))
    (args.out / "scheduler").mkdir(exist_ok=True)
    (args.out / "scheduler" / "scheduler_config.json").write_text(json.dumps(manifest["scheduler"], indent=2))


if __name__ == "__main__":
    main()
