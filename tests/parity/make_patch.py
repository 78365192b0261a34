"""Makes the goldens of the default model's autoencoder, whose reference is models/training/patch.py.

    python make_patch.py        # seconds

It writes goldens/patch_index.json and goldens/patch/.
"""

import json
import sys
from pathlib import Path

import torch

from make_models import DIFFUSERS_FILE, assert_alive, noise, randomise
from make_optional import GOLDENS, Index

sys.path.append(str(Path(__file__).parents[2] / "models" / "training"))
from patch import AutoencoderPatch  # noqa: E402

CONFIG = {
    "_class_name": "AutoencoderPatch", "in_channels": 3, "latent_channels": 12, "patch_size": 8, "latent_width": 32,
    "num_latent_blocks": 1, "feature_patch_size": 4, "width": 16, "num_blocks": 2, "scaling_factor": 1.0,
}  # fmt: skip


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    index, model = Index(), randomise(AutoencoderPatch(CONFIG), 95)
    model.save(GOLDENS / "patch")
    files = {"config": "patch/config.json", "weights": f"patch/{DIFFUSERS_FILE}"}
    features = [f"{name}={value}" for name, value in CONFIG.items() if isinstance(value, int)]
    latents, image = noise(96, 2, 12, 3, 5), noise(97, 2, 3, 16, 24)
    for name, kind, inputs, half in (
        ("patch_decoder", "patch_decoder", {"latents": latents}, model.decoder),
        ("patch_encoder", "patch_encoder", {"image": image}, model.encoder),
    ):
        (given,) = inputs.values()
        assert_alive(name, half, lambda: half(given))
        index.add(name, kind, "patch", inputs | {"output": half(given)}, features, files)
    (GOLDENS / "patch_index.json").write_text(json.dumps({"cases": index.cases}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
