"""Makes the goldens of what a picture begins with and how its edges meet: start pictures, masks, tiling.

    python make_start.py        # after make_models.py and make_patch.py, whose models it uses; a minute

It writes goldens/start_index.json, goldens/kl_encoder/, and cases beside those of the models.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import save_file
from transformers.utils import logging as transformers_logging

from make_models import DIFFUSERS_FILE, SAMPLERS, assert_alive, autoencoder_kl, noise, randomise, save_module, token_ids
from make_optional import GOLDENS

sys.path.append(str(Path(__file__).parents[2] / "models" / "training"))
from patch import AutoencoderPatch  # noqa: E402

REQUEST = {"seed": 7, "prompt": "a photo of the red strawberry", "negative": "blurry, low quality"}


class Index:
    def __init__(self):
        self.cases = []

    def add(self, name, kind, folder, tensors, features, more):
        golden = f"{folder}/golden/{name}.safetensors"
        (GOLDENS / golden).parent.mkdir(exist_ok=True)
        save_file({key: value.contiguous() for key, value in tensors.items()}, GOLDENS / golden)
        self.cases.append({"name": name, "kind": kind, "golden": golden, "features": features} | more)
        shown = tensors.get("output", tensors.get("image"))
        print(f"{name:32} {list(shown.shape)} std {shown.std():.3f}")


# ---------------------------------------------------------------- modules


def kl_encoder_case(index):
    """`output` is the distribution's mean."""
    module = autoencoder_kl(
        201,
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    save_module(module, GOLDENS / "kl_encoder", DIFFUSERS_FILE, keep=r"encoder\.|quant_conv\.")
    image = noise(202, 2, 3, 16, 22).clamp(-1, 1)
    forward = lambda: module.encode(image).latent_dist.mode()
    assert_alive("kl_encoder", module.encoder, forward)
    files = {"config": "kl_encoder/config.json", "weights": f"kl_encoder/{DIFFUSERS_FILE}"}
    features = ["two levels", "mid-block attention", "quant_conv", "mean of the distribution"]
    index.add("kl_encoder", "kl_encoder", "kl_encoder", {"image": image, "output": forward()}, features, files)


def circular(module):
    for child in module.modules():
        if isinstance(child, torch.nn.Conv2d):
            child.padding_mode = "circular"
    return module


def circular_case(index, name, kind, folder, forward, inputs):
    """`output` is `forward(inputs)`, whose convolutions wrap around."""
    files = {"config": f"{folder}/config.json", "weights": f"{folder}/{DIFFUSERS_FILE}", "border": "circular"}
    place = folder.split("/")[0]
    index.add(name, kind, place, inputs | {"output": forward(inputs)}, ["circular padding"], files)


def circular_cases(index):
    for model, size in (("tiny_sd", (4, 6)), ("tiny_sdxs", (6, 10))):
        folder = f"{model}/unet"
        module = circular(UNet2DConditionModel.from_pretrained(GOLDENS / folder, dtype=torch.float32).eval())
        inputs = {"sample": noise(211, 1, 4, *size), "timestep": torch.tensor([431.0])}
        inputs["encoder_hidden_states"] = noise(212, 1, 5, 32)
        forward = lambda i: module(i["sample"], i["timestep"][0], i["encoder_hidden_states"]).sample
        circular_case(index, f"{model}_unet_circular", "unet", folder, forward, inputs)
    latents = noise(213, 1, 4, 3, 5)
    for model, kind, class_ in (("tiny_sd", "tiny_decoder", AutoencoderTiny), ("tiny_lcm", "kl_decoder", AutoencoderKL)):
        folder = f"{model}/vae"
        module = circular(class_.from_pretrained(GOLDENS / folder, dtype=torch.float32).eval())
        circular_case(index, f"{kind}_circular", kind, folder, lambda i: module.decode(i["latents"]).sample, {"latents": latents})
    module = circular(AutoencoderPatch.load(GOLDENS / "patch").decoder)
    forward = lambda i: module(i["latents"])
    circular_case(index, "patch_decoder_circular", "patch_decoder", "patch", forward, {"latents": noise(214, 1, 12, 3, 5)})


# ---------------------------------------------------------------- runs


def start_picture(seed, width, height):
    """Of 8 bits, as pictures are."""
    picture = noise(seed, 1, 3, height // 4, width // 4) * 0.25 + 0.5
    picture = torch.nn.functional.interpolate(picture, scale_factor=4, mode="bilinear").clamp(0, 1)
    return (picture * 255).round() / 255


def collected(steps):
    def keep(_pipeline, _index, _timestep, state):
        steps.append(state["latents"].clone())
        return state

    return keep


def arguments(request, steps):
    return {
        "prompt": request["prompt"],
        "negative_prompt": request["negative"],
        "num_inference_steps": request["steps"],
        "guidance_scale": request["guidance"],
        "generator": torch.Generator("cpu").manual_seed(request["seed"]),
        "output_type": "latent",
        "callback_on_step_end": collected(steps),
    }


def scheduled(pipeline, model, sampler):
    config = json.loads((GOLDENS / model / "scheduler" / "scheduler_config.json").read_text())
    if sampler:
        class_, more = SAMPLERS[sampler]
        pipeline.scheduler = class_.from_config(config, **more)
    return pipeline


def pipeline_of(class_, model, sampler=None):
    loaded = StableDiffusionPipeline.from_pretrained(GOLDENS / model, dtype=torch.float32)
    pipeline = class_(**loaded.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return scheduled(pipeline, model, sampler)


@torch.no_grad()
def save_run(index, name, model, pipeline, request, steps, inputs, features):
    image = pipeline.vae.decode(steps[-1] / pipeline.vae.config.scaling_factor).sample
    image = pipeline.image_processor.postprocess(image, output_type="pt")
    if "mask" in inputs:
        image = image * inputs["mask"] + inputs["start_picture"] * (1 - inputs["mask"])
    tensors = inputs | {
        "input_ids": token_ids(pipeline.tokenizer, [request["prompt"], request["negative"]]).int(),
        "steps": torch.cat(steps),
        "final_latents": steps[-1],
        "image": image,
    }
    more = {"model": model, "request": request, "pipeline": "StableDiffusionPipeline"}
    index.add(name, "run", model, tensors, features, more)


def image_to_image_case(index, sampler, strength=0.6):
    request = REQUEST | {"sampler": sampler, "steps": 5, "guidance": 3.0, "width": 32, "height": 24, "strength": strength}
    pipeline, steps = pipeline_of(StableDiffusionImg2ImgPipeline, "tiny_sd", sampler), []
    picture = start_picture(221, 32, 24)
    pipeline(image=picture, strength=strength, **arguments(request, steps))
    name = f"run_start_{sampler}" + ("" if strength == 0.6 else "_whole")
    save_run(index, name, "tiny_sd", pipeline, request, steps, {"start_picture": picture}, ["start picture", sampler])


@torch.no_grad()
def flow_case(index):
    """StableDiffusionImg2ImgPipeline's own loop for a flow-matching scheduler, which calls add_noise scale_noise."""
    request = REQUEST | {"steps": 5, "guidance": 3.0, "width": 64, "height": 48, "strength": 0.5}
    pipeline, steps = pipeline_of(StableDiffusionImg2ImgPipeline, "tiny_flow"), []
    picture = start_picture(222, 64, 48)
    text, negative = pipeline.encode_prompt(request["prompt"], "cpu", 1, True, request["negative"])
    text = torch.cat([negative, text])
    pipeline.scheduler.set_timesteps(request["steps"])
    timesteps, _ = pipeline.get_timesteps(request["steps"], request["strength"], "cpu")
    latents = pipeline.vae.encode(picture * 2 - 1).latents * pipeline.vae.config.scaling_factor
    drawn = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(request["seed"]))
    latents = pipeline.scheduler.scale_noise(latents, timesteps[:1], drawn)
    for timestep in timesteps:
        without, with_text = pipeline.unet(torch.cat([latents] * 2), timestep, text).sample.chunk(2)
        velocity = without + request["guidance"] * (with_text - without)
        latents = pipeline.scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        steps.append(latents)
    save_run(index, "run_start_flow", "tiny_flow", pipeline, request, steps, {"start_picture": picture}, ["start picture"])


def inpainting_case(index, sampler, strength):
    """The mask is of whole latents: diffusers takes one pixel of each, the engine all."""
    request = REQUEST | {"sampler": sampler, "steps": 5, "guidance": 3.0, "width": 32, "height": 24, "strength": strength}
    pipeline, steps = pipeline_of(StableDiffusionInpaintPipeline, "tiny_sd", sampler), []
    picture, mask = start_picture(223, 32, 24), torch.zeros(1, 1, 24, 32)
    mask[..., 8:24, 16:32] = 1
    size = {"width": 32, "height": 24}
    pipeline(image=picture, mask_image=mask, strength=strength, **size, **arguments(request, steps))
    inputs = {"start_picture": picture, "mask": mask.repeat(1, 3, 1, 1)}
    features = ["start picture", "mask", f"strength {strength}"]
    save_run(index, f"run_mask_{sampler}", "tiny_sd", pipeline, request, steps, inputs, features)


def tiling_case(index):
    request = REQUEST | {"sampler": "euler", "steps": 3, "guidance": 3.0, "width": 32, "height": 24, "tiling": True}
    pipeline, steps = pipeline_of(StableDiffusionPipeline, "tiny_sd", "euler"), []
    circular(pipeline.unet), circular(pipeline.vae)
    pipeline(width=32, height=24, **arguments(request, steps))
    save_run(index, "run_tiling", "tiny_sd", pipeline, request, steps, {}, ["circular padding"])


def main():
    torch.set_num_threads(1)
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    index = Index()
    with torch.no_grad():
        kl_encoder_case(index)
        circular_cases(index)
    for sampler in SAMPLERS:
        # diffusers' PNDM loses a timestep where it does not begin at the first; the engine does not.
        image_to_image_case(index, sampler, 1.0 if sampler == "pndm" else 0.6)
    flow_case(index)
    for sampler, strength in (("ddim", 0.8), ("lcm", 0.6), ("dpmpp_2m", 1.0)):
        inpainting_case(index, sampler, strength)
    tiling_case(index)
    (GOLDENS / "start_index.json").write_text(json.dumps({"cases": index.cases}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
