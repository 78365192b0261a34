"""The last stage: the diffusers folder that `fraise pack` reads, with `fraise.json` (what the pack's manifest adds) beside it."""

import json
import shutil
from pathlib import Path

import diffusers
from diffusers import FlowMatchEulerDiscreteScheduler

from denoiser import Denoiser
from distill import JUMP

NAME = "fraise-1"
RECOMMENDED = {"steps": 4, "guidance": 1.0, "width": 256, "height": 256, "upscale": False}
OPTIONAL = {  # what else of the work folder goes into the pack, if it is there: (library, class)
    "upscaler": ("fraise", "SRVGGNetCompact"),
    "scorer": ("transformers", "CLIPVisionModelWithProjection"),
}
EXAMPLES = {
    "en": [
        "a strawberry island under a starry sky",
        "a fox in the forest, watercolor",
        "an astronaut on the moon",
        "a castle island in the sea",
        "a wolf under the northern lights",
        "a neon heart in space",
        "a giant mushroom in a meadow",
        "pixel art of a robot in a city",
    ],
    "zh": [
        "星空下的草莓小岛",
        "森林里的狐狸，水彩画",
        "月球上的宇航员",
        "海上的城堡小岛",
        "极光下的狼",
        "太空中的爱心，霓虹",
        "草地上的巨大的蘑菇",
        "像素画：城市里的机器人",
    ],
}
PACK = {
    "name": NAME,
    "license": "Apache-2.0",
    "license_restrictions": "None beyond the licence. Trained on renders of Noto Emoji (Apache-2.0, Google) and Fluent "
    "Emoji (MIT, Microsoft) drawings; keep their notices, which are in the model card.",
    "source": "models/training in the Fraise repository",
    "recommended": RECOMMENDED,
    "examples": EXAMPLES,
    "negative_phrase": " without ",
}


def export(out: Path, model: Denoiser, work: Path, terminal: float | None = JUMP) -> Path:
    """Writes the folder, with the autoencoder and the optional parts that `work` has, in place of an older one in one move.

    `terminal` is the noise that the last step begins with: without it diffusers' table spends a step on a thousandth.
    """
    fresh, old = out.with_name(out.name + ".new"), out.with_name(out.name + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    model.text.save_pretrained(fresh / "text_encoder")
    model.unet.save_pretrained(fresh / "unet")
    shutil.copytree(work / "vae", fresh / "vae")
    FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0, shift_terminal=terminal).save_pretrained(fresh / "scheduler")
    shutil.copytree(work / "tokenizer", fresh / "tokenizer")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["fraise", "AutoencoderPatch"],
    }
    for name, kind in OPTIONAL.items():
        if (work / name).exists():
            shutil.copytree(work / name, fresh / name)
            index[name] = list(kind)
    (fresh / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    (fresh / "fraise.json").write_text(json.dumps(PACK, indent=2, ensure_ascii=False) + "\n")
    shutil.rmtree(old, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    return out
