"""Makes the parity goldens: tiny random-weight pipelines in diffusers' folder layout, and what diffusers computes.

    pip install -r requirements.txt
    python make_models.py [OUT]            # OUT defaults to goldens/ beside this file; about a minute on one core

Layout of OUT:

    index.json                      every case: kind, files, config features it covers
    MODEL/                          a folder that StableDiffusionPipeline.from_pretrained and `fraise pack` accept
    MODEL/golden/CASE.safetensors   inputs and outputs of one module, or of a whole run
    MODULE/config.json, …           a module that no pipeline here contains

Weights are random but alive: norms, biases and embeddings are drawn too, and the script proves for every tensor that
zeroing it moves the output by far more than the tolerance (keys' biases excepted: softmax does not see them). Weights
are rounded to float16 and stored so; the reference runs in float32 on the rounded values, so files are exact.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    TCDScheduler,
    UNet2DConditionModel,
)
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

# Zeroing a tensor must move the output by at least this much, relative to the output's largest magnitude.
ALIVE = 2e-3
# A bias on the keys adds the same number to all scores of a query, and softmax removes it.
INVISIBLE = re.compile(r"(k_proj|to_k)\.bias$")


# ---------------------------------------------------------------- weights


def randomise(module, seed):
    """Draws every parameter so that signals keep about unit size through the network, then rounds to float16."""
    generator = torch.Generator("cpu").manual_seed(seed)
    norms = {
        name
        for name, child in module.named_modules()
        if isinstance(child, (torch.nn.GroupNorm, torch.nn.LayerNorm))
    }
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            owner = name.rpartition(".")[0]
            if owner in norms:
                value = 0.3 * noise + (1.0 if name.endswith("weight") else 0.0)
            elif "embedding.weight" in name:
                value = 0.5 * noise
            elif parameter.ndim >= 2:
                value = noise * parameter[0].numel() ** -0.5
            else:
                value = 0.2 * noise
            parameter.copy_(value.half().float())
    return module.float().eval()


def weights_of(module, keep="", prefix=""):
    """The module's tensors as float16, under diffusers' names."""
    return {
        prefix + name: tensor.half().contiguous()
        for name, tensor in module.state_dict().items()
        if re.match(keep, name) and "position_ids" not in name
    }


def assert_alive(name, module, forward):
    """Every tensor matters: a loader that misses or swaps one cannot pass."""
    expected = forward()
    scale = expected.abs().max()
    for parameter_name, parameter in module.named_parameters():
        if INVISIBLE.search(parameter_name):
            continue
        saved = parameter.detach().clone()
        with torch.no_grad():
            parameter.zero_()
            moved = ((forward() - expected).abs().max() / scale).item()
            parameter.copy_(saved)
        if moved < ALIVE:
            raise SystemExit(f"{name}: {parameter_name} moves the output by only {moved:.1e}")


# ---------------------------------------------------------------- tokenizer


def byte_symbols():
    """GPT-2's printable stand-ins for the 256 bytes, in CLIP's vocabulary order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def write_tokenizer(folder, pad_token):
    """A CLIP tokenizer in the layout of Stable Diffusion's, with merges for a handful of words."""
    folder.mkdir(parents=True)
    merges = []
    for word in "a photo of the red strawberry on green grass blurry low quality painting sea at night".split():
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            if (parts[0], parts[1]) not in merges:
                merges.append((parts[0], parts[1]))
            parts[:2] = [parts[0] + parts[1]]
    symbols = byte_symbols()
    tokens = symbols + [symbol + "</w>" for symbol in symbols]
    for left, right in merges:
        if left + right not in tokens:
            tokens.append(left + right)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    config = {
        "add_prefix_space": False,
        "bos_token": "<|startoftext|>",
        "do_lower_case": True,
        "eos_token": "<|endoftext|>",
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": pad_token,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    return CLIPTokenizer.from_pretrained(folder), len(tokens)


# ---------------------------------------------------------------- the models


def text_encoder(vocab_size, seed, sizes, hidden_act, model=CLIPTextModel):
    """`sizes`: width, inner width, layers, heads."""
    width, inner, layers, heads = sizes
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_act=hidden_act,
        vocab_size=vocab_size,
        bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1,
        pad_token_id=vocab_size - 1,
        max_position_embeddings=77,
        projection_dim=32,
    )
    return randomise(model(config), seed)


def unet(seed, **config):
    base = dict(sample_size=8, norm_num_groups=8, layers_per_block=1)
    return randomise(UNet2DConditionModel(**base | config), seed)


def autoencoder_tiny(seed, latent_channels, encoder_blocks, decoder_blocks, scaling_factor=1.0):
    module = AutoencoderTiny(
        latent_channels=latent_channels,
        encoder_block_out_channels=(32,) * len(encoder_blocks),
        decoder_block_out_channels=(32,) * len(decoder_blocks),
        num_encoder_blocks=encoder_blocks,
        num_decoder_blocks=decoder_blocks,
        scaling_factor=scaling_factor,
    )
    return picture_range(randomise(module, seed), module.decoder.layers[-1], 0.5)


def autoencoder_kl(seed, **config):
    base = dict(latent_channels=4, norm_num_groups=8, layers_per_block=1, sample_size=32)
    module = AutoencoderKL(**base | config)
    return picture_range(randomise(module, seed), module.decoder.conv_out, 0.0)


def picture_range(module, last_conv, middle):
    """Shrinks and centres the decoder's last convolution so that pictures are not mostly clamped."""
    with torch.no_grad():
        last_conv.weight.copy_((0.3 * last_conv.weight).half().float())
        last_conv.bias.copy_((0.3 * last_conv.bias + middle).half().float())
    return module


DOWN_UP = dict(
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")
)
SD_SCHEDULE = dict(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    clip_sample=False,
    set_alpha_to_one=False,
    steps_offset=1,
)


def tiny_sd(folder):
    """As Stable Diffusion 1.x: quick-gelu text encoder, 1x1-convolution projections, TAESD, DDIM."""
    tokenizer, vocab_size = write_tokenizer(folder / "tokenizer", "<|endoftext|>")
    return Model(
        folder,
        tokenizer,
        text_encoder(vocab_size, 11, (32, 64, 2, 4), "quick_gelu"),
        unet(12, block_out_channels=(32, 64), cross_attention_dim=32, attention_head_dim=4, **DOWN_UP),
        autoencoder_tiny(13, 4, (1, 1, 0, 0), (1, 0, 1, 0), scaling_factor=2.5),
        DDIMScheduler(**SD_SCHEDULE),
    )


def tiny_lcm(folder):
    """As consistency models of Stable Diffusion 2.x: gelu, linear projections, guidance embedding, KL decoder, LCM."""
    tokenizer, vocab_size = write_tokenizer(folder / "tokenizer", "!")
    kl = autoencoder_kl(
        23,
        block_out_channels=(64, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        scaling_factor=0.18215,
    )
    return Model(
        folder,
        tokenizer,
        text_encoder(vocab_size, 21, (32, 64, 2, 2), "gelu"),
        unet(
            22,
            block_out_channels=(32, 32),
            cross_attention_dim=32,
            attention_head_dim=(2, 4),
            layers_per_block=2,
            transformer_layers_per_block=(2, 1),
            use_linear_projection=True,
            time_cond_proj_dim=32,
            **DOWN_UP,
        ),
        kl,
        LCMScheduler(**SD_SCHEDULE),
    )


def tiny_flow(folder):
    """As the default model: 16 latent channels at a sixteenth of the size, no mid block, rectified flow."""
    tokenizer, vocab_size = write_tokenizer(folder / "tokenizer", "<|endoftext|>")
    return Model(
        folder,
        tokenizer,
        text_encoder(vocab_size, 31, (32, 128, 1, 1), "quick_gelu"),
        unet(
            32,
            in_channels=16,
            out_channels=16,
            block_out_channels=(32, 32),
            cross_attention_dim=32,
            attention_head_dim=2,
            mid_block_type=None,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        autoencoder_tiny(33, 16, (1, 0, 0, 0, 1), (0, 1, 0, 0, 1)),
        FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def tiny_sd2(folder):
    """As Stable Diffusion 2.x: gelu text encoder, linear projections, heads of one size, v-prediction."""
    tokenizer, vocab_size = write_tokenizer(folder / "tokenizer", "!")
    return Model(
        folder,
        tokenizer,
        text_encoder(vocab_size, 51, (32, 64, 2, 2), "gelu"),
        unet(
            52,
            block_out_channels=(32, 32),
            cross_attention_dim=32,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            **DOWN_UP,
        ),
        autoencoder_tiny(53, 4, (0, 0, 0, 0), (0, 0, 0, 0)),
        DDIMScheduler(**SD_SCHEDULE, prediction_type="v_prediction"),
    )


def tiny_sdxs(folder):
    """As SDXS and the block-removed BK-SDM: three levels, one layer each, no attention at the finest, no mid block."""
    tokenizer, vocab_size = write_tokenizer(folder / "tokenizer", "<|endoftext|>")
    return Model(
        folder,
        tokenizer,
        text_encoder(vocab_size, 61, (32, 64, 1, 4), "quick_gelu"),
        unet(
            62,
            block_out_channels=(32, 32, 32),
            cross_attention_dim=32,
            attention_head_dim=4,
            mid_block_type=None,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        autoencoder_tiny(63, 4, (0, 0, 0, 0), (1, 0, 0, 0)),
        EulerDiscreteScheduler(**{k: SD_SCHEDULE[k] for k in ("beta_start", "beta_end", "beta_schedule", "steps_offset")}),
    )


def tiny_sdxl(folder):
    """As SDXL: two text encoders, pooled text and geometry in the time embedding, transformers of several depths, KL."""
    tokenizer, vocab_size = write_tokenizer(folder / "tokenizer", "<|endoftext|>")
    tokenizer_2, _ = write_tokenizer(folder / "tokenizer_2", "!")
    kl = autoencoder_kl(
        74,
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        scaling_factor=0.13025,
    )
    config = {k: SD_SCHEDULE[k] for k in ("beta_start", "beta_end", "beta_schedule", "steps_offset")}
    return ModelXL(
        folder,
        (tokenizer, tokenizer_2),
        (
            text_encoder(vocab_size, 71, (32, 64, 2, 4), "quick_gelu"),
            text_encoder(vocab_size, 72, (32, 64, 3, 2), "gelu", CLIPTextModelWithProjection),
        ),
        unet(
            73,
            block_out_channels=(32, 32),
            cross_attention_dim=64,
            attention_head_dim=(2, 4),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=32 + 6 * 8,
        ),
        kl,
        EulerDiscreteScheduler(**config, timestep_spacing="leading"),
    )


class Model:
    """A pipeline's parts and the folder they are written to."""

    def __init__(self, folder, tokenizer, text_encoder, unet, vae, scheduler):
        self.folder, self.tokenizer, self.scheduler = folder, tokenizer, scheduler
        self.text_encoder, self.unet, self.vae = text_encoder, unet, vae
        (folder / "golden").mkdir()
        save_text_encoder(text_encoder, folder / "text_encoder")
        save_module(unet, folder / "unet", "diffusion_pytorch_model.safetensors")
        # The KL encoder is left out (nothing here runs it): only what the decoder needs is stored.
        keep = r"decoder\.|post_quant_conv\." if isinstance(vae, AutoencoderKL) else ""
        save_module(vae, folder / "vae", "diffusion_pytorch_model.safetensors", keep=keep)
        scheduler.save_pretrained(folder / "scheduler")
        self.pipeline = self.make_pipeline()
        self.pipeline.set_progress_bar_config(disable=True)

    def make_pipeline(self):
        write_index(
            self,
            "StableDiffusionPipeline",
            {"feature_extractor": [None, None], "requires_safety_checker": False, "safety_checker": [None, None]},
        )
        return StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


class ModelXL(Model):
    """As [`Model`], with two tokenizers and two text encoders."""

    def __init__(self, folder, tokenizers, text_encoders, unet, vae, scheduler):
        self.tokenizer_2, self.text_encoder_2 = tokenizers[1], text_encoders[1]
        super().__init__(folder, tokenizers[0], text_encoders[0], unet, vae, scheduler)

    def make_pipeline(self):
        save_text_encoder(self.text_encoder_2, self.folder / "text_encoder_2")
        write_index(
            self,
            "StableDiffusionXLPipeline",
            {
                "feature_extractor": [None, None],
                "force_zeros_for_empty_prompt": True,
                "image_encoder": [None, None],
                "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
                "tokenizer_2": ["transformers", "CLIPTokenizer"],
            },
        )
        return StableDiffusionXLPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            text_encoder_2=self.text_encoder_2,
            tokenizer=self.tokenizer,
            tokenizer_2=self.tokenizer_2,
            unet=self.unet,
            scheduler=self.scheduler,
            add_watermarker=False,
        )


def write_index(model, pipeline, more):
    index = {
        "_class_name": pipeline,
        "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", type(model.scheduler).__name__],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", type(model.vae).__name__],
    }
    text = json.dumps(dict(sorted((index | more).items())), indent=2)
    (model.folder / "model_index.json").write_text(text + "\n", "utf-8")


def save_text_encoder(module, folder):
    # Published text encoders carry the `text_model.` prefix, which transformers 5 drops when saving.
    prefix = "" if isinstance(module, CLIPTextModelWithProjection) else "text_model."
    save_module(module, folder, "model.safetensors", prefix=prefix)


def save_module(module, folder, file_name, keep="", prefix=""):
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights_of(module, keep, prefix), folder / file_name, {"format": "pt"})
    is_text = isinstance(module, (CLIPTextModel, CLIPTextModelWithProjection))
    text = module.config.to_json_string() if is_text else module.to_json_string()
    config = json.loads(text) | ({"dtype": "float16"} if is_text else {})
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


# ---------------------------------------------------------------- goldens of modules


class Goldens:
    """Collects the cases of index.json while their files are written."""

    def __init__(self, out):
        self.out, self.cases = out, []

    def add(self, name, kind, folder, golden, tensors, features, weights=None):
        path = self.out / golden
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in tensors.items()}, path)
        case = {"name": name, "kind": kind, "golden": golden, "features": features}
        if kind.startswith("run"):
            case["model"] = folder
        else:
            case |= {"config": f"{folder}/config.json", "weights": f"{folder}/{weights}"}
        self.cases.append(case)
        shape = tensors.get("output", tensors.get("image"))
        print(f"{name:32} {str(list(shape.shape)):20} std {shape.std():.3f} max {shape.abs().max():.3f}")

    def write_index(self):
        (self.out / "index.json").write_text(json.dumps({"cases": self.cases}, indent=1) + "\n", "utf-8")


DIFFUSERS_FILE = "diffusion_pytorch_model.safetensors"


def noise(seed, *shape):
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


def token_ids(tokenizer, prompts):
    return tokenizer(prompts, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids


def text_golden(goldens, name, model, features):
    prompts = ["a photo of the red strawberry", "", "Night sea, 2 paintings! 草莓"]
    ids = token_ids(model.tokenizer, prompts)
    forward = lambda: model.text_encoder(ids)[0]
    assert_alive(name, model.text_encoder, forward)
    tensors = {"input_ids": ids.int(), "output": forward()}
    folder, golden = (f"{model.folder.name}/{path}" for path in ("text_encoder", f"golden/{name}.safetensors"))
    goldens.add(name, "clip_text", folder, golden, tensors, features, "model.safetensors")


def unet_golden(goldens, name, module, place, features, timestep):
    folder, golden = place
    channels, text_width = module.config.in_channels, module.config.cross_attention_dim
    sample, text = noise(101, 2, channels, 8, 12), noise(102, 2, 7, text_width)
    tensors = {"sample": sample, "timestep": torch.tensor([timestep]), "encoder_hidden_states": text}
    condition = None
    if module.config.time_cond_proj_dim:
        condition = tensors["timestep_cond"] = noise(103, 2, module.config.time_cond_proj_dim)
    added = None
    if module.config.addition_embed_type:
        width = module.config.projection_class_embeddings_input_dim - 6 * module.config.addition_time_embed_dim
        tensors["text_embeds"] = noise(104, 2, width)
        tensors["time_ids"] = torch.tensor([48.0, 64.0, 3.0, 5.0, 40.0, 56.0])
        added = {"text_embeds": tensors["text_embeds"], "time_ids": tensors["time_ids"].repeat(2, 1)}
    forward = lambda: module(
        sample, torch.tensor(timestep), text, timestep_cond=condition, added_cond_kwargs=added
    ).sample
    assert_alive(name, module, forward)
    tensors["output"] = forward()
    goldens.add(name, "unet", folder, golden, tensors, features, DIFFUSERS_FILE)


def decoder_golden(goldens, name, module, kind, place, features):
    """`output` is diffusers' raw decoder output: about [-1, 1], not clamped."""
    folder, golden = place
    latents = noise(201, 2, module.config.latent_channels, 3, 5)
    forward = lambda: module.decode(latents).sample
    assert_alive(name, module.decoder, forward)
    if kind == "kl_decoder":
        assert_alive(name, module.post_quant_conv, forward)
    goldens.add(name, kind, folder, golden, {"latents": latents, "output": forward()}, features, DIFFUSERS_FILE)


def encoder_golden(goldens, name, model, features):
    """`image` is in diffusers' range [-1, 1]."""
    module = model.vae
    side = 2 ** (len(module.config.encoder_block_out_channels) - 1)
    image = noise(301, 1, 3, 2 * side, 3 * side).clamp(-1, 1)
    forward = lambda: module.encode(image).latents
    assert_alive(name, module.encoder, forward)
    golden = f"{model.folder.name}/golden/{name}.safetensors"
    tensors = {"image": image, "output": forward()}
    goldens.add(name, "tiny_encoder", f"{model.folder.name}/vae", golden, tensors, features, DIFFUSERS_FILE)


def model_goldens(goldens, model, features, timestep):
    """The goldens of one pipeline's modules; `features` says per module what this configuration covers."""
    name = model.folder.name
    place = lambda case: f"{name}/golden/{case}.safetensors"
    text_golden(goldens, f"{name}_text_encoder", model, features["text_encoder"])
    case = f"{name}_unet"
    unet_golden(goldens, case, model.unet, (f"{name}/unet", place(case)), features["unet"], timestep)
    kind = "kl_decoder" if isinstance(model.vae, AutoencoderKL) else "tiny_decoder"
    case = f"{name}_vae_decoder"
    decoder_golden(goldens, case, model.vae, kind, (f"{name}/vae", place(case)), features["vae"])
    if kind == "tiny_decoder":
        encoder_golden(goldens, f"{name}_vae_encoder", model, features["vae"])


# ---------------------------------------------------------------- goldens of whole runs

# What a request's sampler name means to diffusers' users: the class, made from the pack's own scheduler config.
SAMPLERS = {
    "ddim": (DDIMScheduler, {}),
    "pndm": (PNDMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "dpmpp_sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    "heun": (HeunDiscreteScheduler, {}),
    "lcm": (LCMScheduler, {}),
    "tcd": (TCDScheduler, {}),
}


def run_golden(goldens, name, model, request, features, scheduler=None):
    """A run of the diffusers pipeline itself; every step's latents come from its callback.

    `scheduler` is a scheduler_config.json instead of the model's own: what another pack of the same family has.
    """
    pipeline, request = model.pipeline, {"seed": 42} | request
    # From the file, where every setting is explicit; from memory, settings left at one class's defaults would become
    # the other class's defaults.
    config = scheduler or json.loads((model.folder / "scheduler" / "scheduler_config.json").read_text())
    own = getattr(diffusers, config["_class_name"])
    sampler, arguments = SAMPLERS[request["sampler"]] if "sampler" in request else (own, {})
    pipeline.scheduler = sampler.from_config(config, **arguments)
    generator = torch.Generator("cpu").manual_seed(request["seed"])
    denoise = flow_run if isinstance(model.scheduler, FlowMatchEulerDiscreteScheduler) else pipeline_run
    steps = denoise(pipeline, request, generator)
    with torch.no_grad():
        image = pipeline.vae.decode(steps[-1] / pipeline.vae.config.scaling_factor).sample
    image = pipeline.image_processor.postprocess(image, output_type="pt")
    clamped = ((image == 0) | (image == 1)).float().mean().item()
    if clamped > 0.6:
        raise SystemExit(f"{name}: {clamped:.0%} of the picture is clamped")
    tensors = {
        "input_ids": token_ids(pipeline.tokenizer, [request["prompt"], request["negative"] or ""]).int(),
        "init_latents": initial_latents(pipeline, request, torch.Generator("cpu").manual_seed(request["seed"])),
        "steps": torch.cat(steps),
        "final_latents": steps[-1],
        "image": image,
    }
    golden = f"{model.folder.name}/golden/{name}.safetensors"
    goldens.add(name, "run", model.folder.name, golden, tensors, features)
    goldens.cases[-1]["request"] = request
    goldens.cases[-1]["pipeline"] = type(pipeline).__name__
    if scheduler:
        goldens.cases[-1]["scheduler"] = scheduler


def initial_latents(pipeline, request, generator):
    scale = pipeline.vae_scale_factor
    shape = (1, pipeline.unet.config.in_channels, request["height"] // scale, request["width"] // scale)
    return torch.randn(shape, generator=generator)


def pipeline_run(pipeline, request, generator):
    steps = []

    def keep(_pipeline, _index, _timestep, state):
        steps.append(state["latents"].clone())
        return state

    pipeline(
        request["prompt"],
        negative_prompt=request["negative"],
        num_inference_steps=request["steps"],
        guidance_scale=request["guidance"],
        height=request["height"],
        width=request["width"],
        generator=generator,
        output_type="latent",
        callback_on_step_end=keep,
    )
    return steps


@torch.no_grad()
def flow_run(pipeline, request, generator):
    """StableDiffusionPipeline's own loop for a flow-matching scheduler, which has no scale_model_input."""
    text, negative = pipeline.encode_prompt(request["prompt"], "cpu", 1, True, request["negative"])
    text = torch.cat([negative, text])
    latents, steps = initial_latents(pipeline, request, generator), []
    pipeline.scheduler.set_timesteps(request["steps"])
    for timestep in pipeline.scheduler.timesteps:
        without, with_text = pipeline.unet(torch.cat([latents] * 2), timestep, text).sample.chunk(2)
        velocity = without + request["guidance"] * (with_text - without)
        latents = pipeline.scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        steps.append(latents)
    return steps


def assert_reloads(model, request):
    """The folder on disk is what ran: diffusers loads it back to the same latents."""
    again = type(model.pipeline).from_pretrained(model.folder, dtype=torch.float32)
    again.set_progress_bar_config(disable=True)
    generators = [torch.Generator("cpu").manual_seed(1) for _ in range(2)]
    denoise = flow_run if isinstance(model.scheduler, FlowMatchEulerDiscreteScheduler) else pipeline_run
    ours, theirs = (denoise(p, request, g)[-1] for p, g in zip((model.pipeline, again), generators, strict=True))
    torch.testing.assert_close(theirs, ours)


# ---------------------------------------------------------------- all of it

# scheduler_config.json of models distilled to a few steps.
TRAILING = dict(
    _class_name="EulerDiscreteScheduler", timestep_spacing="trailing", **{k: v for k, v in SD_SCHEDULE.items() if "beta" in k}
)
CONSISTENCY = dict(_class_name="LCMScheduler", original_inference_steps=50, **SD_SCHEDULE)


def family_cases(goldens, request):
    """Families beyond Stable Diffusion 1.x, and the distillations that differ in their scheduler alone."""
    model = tiny_sd2(goldens.out / "tiny_sd2")
    features = {
        "text_encoder": ["hidden_act=gelu", "pad_token=!"],
        "unet": ["use_linear_projection", "attention_head_dim list"],
        "vae": ["no residual blocks"],
    }
    model_goldens(goldens, model, features, 981.0)
    size = {"width": 64, "height": 48}
    run_golden(goldens, "run_sd2", model, request | size | {"guidance": 5.0}, ["v_prediction", "ddim"])
    zero_snr = {**SD_SCHEDULE, "prediction_type": "v_prediction", "_class_name": "DDIMScheduler"}
    zero_snr |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    features = ["v_prediction", "zero terminal SNR", "trailing spacing"]
    run_golden(goldens, "run_sd2_zero_snr", model, request | size | {"guidance": 4.0}, features, zero_snr)
    for steps in (1, 4):
        turbo = request | size | {"guidance": 0.0, "steps": steps, "negative": ""}
        run_golden(goldens, f"run_turbo_{steps}", model, turbo, ["as SD-Turbo: trailing euler, no guidance"], TRAILING)
    lcm = request | size | {"guidance": 1.5}
    run_golden(goldens, "run_lcm_lora", model, lcm, ["as LCM-LoRA merged: lcm with guidance by two passes"], CONSISTENCY)

    model = tiny_sdxs(goldens.out / "tiny_sdxs")
    features = {
        "text_encoder": ["one layer"],
        "unet": ["three levels", "DownBlock2D first", "mid_block_type=null"],
        "vae": ["tiny decoder"],
    }
    model_goldens(goldens, model, features, 999.0)
    run_golden(goldens, "run_bk_sdm", model, request | size | {"guidance": 5.0}, ["as BK-SDM: no mid block, euler"])
    sdxs = request | size | {"guidance": 0.0, "steps": 1, "negative": ""}
    run_golden(goldens, "run_sdxs", model, sdxs, ["as SDXS: one step, tiny decoder"])

    model = tiny_sdxl(goldens.out / "tiny_sdxl")
    place = lambda case: f"tiny_sdxl/golden/{case}.safetensors"
    features = ["text_time", "transformer depth per level", "add_embedding"]
    unet_golden(goldens, "tiny_sdxl_unet", model.unet, ("tiny_sdxl/unet", place("tiny_sdxl_unet")), features, 801.0)
    size = {"width": 16, "height": 24}
    features = ["two encoders", "pooled text", "time ids", "guidance"]
    run_golden(goldens, "run_sdxl", model, request | size | {"guidance": 5.0}, features)
    empty = request | size | {"guidance": 4.0, "negative": None}
    run_golden(goldens, "run_sdxl_no_negative", model, empty, ["force_zeros_for_empty_prompt"])
    assert_reloads(model, empty)
    for name, steps, more in (("turbo", 1, {}), ("lightning", 4, {}), ("lightning_1", 1, {"prediction_type": "sample"})):
        few = request | size | {"guidance": 0.0, "steps": steps, "negative": ""}
        run_golden(goldens, f"run_sdxl_{name}", model, few, [f"as SDXL-{name}: trailing euler"], TRAILING | more)



def module_cases(goldens):
    """Modules that no pipeline above contains: configurations that other families use."""
    module = unet(
        41,
        block_out_channels=(32,),
        cross_attention_dim=32,
        attention_head_dim=8,
        time_cond_proj_dim=32,
        mid_block_type=None,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    )
    save_module(module, goldens.out / "unet_time_cond", DIFFUSERS_FILE)
    features = ["time_cond_proj_dim", "mid_block_type=null", "one block", "no cross-attention"]
    golden = "unet_time_cond/golden/unet_time_cond.safetensors"
    unet_golden(goldens, "unet_time_cond", module, ("unet_time_cond", golden), features, 501.0)

    module = autoencoder_kl(
        42,
        block_out_channels=(32,),
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
    )
    name = "kl_decoder_without_attention"
    save_module(module, goldens.out / name, DIFFUSERS_FILE, keep=r"decoder\.|post_quant_conv\.")
    place = (name, f"{name}/golden/{name}.safetensors")
    decoder_golden(goldens, name, module, "kl_decoder", place, ["mid_block_add_attention=false"])


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "goldens"
    folders = (
        *("tiny_sd", "tiny_lcm", "tiny_flow", "tiny_sd2", "tiny_sdxs", "tiny_sdxl"),
        *("unet_time_cond", "kl_decoder_without_attention"),
    )
    for name in folders:
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
    goldens = Goldens(out)
    request = {"prompt": "a photo of the red strawberry", "negative": "blurry, low quality", "steps": 4}

    model = tiny_sd(out / "tiny_sd")
    features = {
        "text_encoder": ["hidden_act=quick_gelu"],
        "unet": [*sum(DOWN_UP.values(), ()), "UNetMidBlock2DCrossAttn", "1x1 projections"],
        "vae": ["4 latent channels", "8 pixels per latent"],
    }
    model_goldens(goldens, model, features, 981.0)
    ddim = request | {"guidance": 5.0, "width": 64, "height": 48}
    run_golden(goldens, "run_ddim", model, ddim, ["ddim", "guidance with a negative prompt", "leading spacing"])
    assert_reloads(model, ddim)
    euler = request | {"sampler": "euler", "guidance": 4.0, "steps": 5, "width": 48, "height": 32}
    run_golden(goldens, "run_euler", model, euler, ["euler by name, from another scheduler's configuration"])
    lcm = request | {"sampler": "lcm", "guidance": 1.0, "width": 48, "height": 32}
    run_golden(goldens, "run_lcm_unguided", model, lcm, ["lcm by name", "no guidance", "noise drawn at each step"])
    for sampler in SAMPLERS:
        named = request | {"sampler": sampler, "guidance": 3.0, "steps": 5, "width": 48, "height": 32, "seed": 7}
        run_golden(goldens, f"run_sd_{sampler}", model, named, [f"{sampler} by name, guided"])

    model = tiny_lcm(out / "tiny_lcm")
    features = {
        "text_encoder": ["hidden_act=gelu", "pad_token=!"],
        "unet": [
            "layers_per_block=2",
            "transformer_layers_per_block list",
            "attention_head_dim list",
            "use_linear_projection",
            "time_cond_proj_dim",
        ],
        "vae": ["mid-block attention", "post_quant_conv", "conv_shortcut"],
    }
    model_goldens(goldens, model, features, 259.0)
    lcm = request | {"guidance": 8.0, "width": 16, "height": 24}
    run_golden(goldens, "run_lcm", model, lcm, ["lcm", "guidance embedding", "noise drawn at each step"])

    model = tiny_flow(out / "tiny_flow")
    features = {
        "text_encoder": ["one layer", "one head"],
        "unet": ["16 channels", "mid_block_type=null", "fractional timestep"],
        "vae": ["16 latent channels", "16 pixels per latent"],
    }
    model_goldens(goldens, model, features, 437.25)
    flow = request | {"guidance": 3.0, "width": 64, "height": 48}
    run_golden(goldens, "run_flow", model, flow, ["flow_euler", "shift=3", "guidance with a negative prompt"])
    assert_reloads(model, flow)

    family_cases(goldens, request)
    module_cases(goldens)
    goldens.write_index()
    total = sum(file.stat().st_size for name in folders for file in (out / name).rglob("*") if file.is_file())
    print(f"{total / 1e6:.2f} MB in all")


if __name__ == "__main__":
    main()
