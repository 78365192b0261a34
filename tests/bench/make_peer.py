"""The same random weights for both sides of the bench: a diffusers folder for `fraise pack`, ONNX files for its peer.

    python make_peer.py default|half|sd15 OUT

    OUT/diffusers/              weights rounded to float16
    OUT/onnx-f32/MODULE.onnx    the same numbers as float32 (not of sd15: protobuf ends at 2 GiB)
    OUT/onnx-f16/MODULE.onnx    arithmetic in float16 too
    OUT/peer.json               prompt, token ids, shapes, and the GFLOP of every module at several sizes

MODULE is text_encoder (token ids to states), unet (one pass), or vae_decoder (latents to pixels in [0, 1]). Height and
width of latents are free. GFLOP count two for each multiplication of matrix products, convolutions and attention.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from make_full_size import VAE, sd15, write_folder

MODELS = Path(__file__).parents[2] / "models"
MANIFEST = MODELS / "fraise-1" / "manifest.json"
sys.path.append(str(MODELS / "training"))
import patch  # noqa: E402

PROMPT = "a photo of the red strawberry on green grass"
# Sides of square latents that the bench may choose from.
LATENT_SIDES = (8, 16, 32, 64)
TRACED_SIDE = 8
OPSET = 18


class AutoencoderPatch(ModelMixin, ConfigMixin):
    """The default model's autoencoder, handled as diffusers handles its own."""

    @register_to_config
    def __init__(self, in_channels=3, latent_channels=48, patch_size=32, latent_width=128, num_latent_blocks=2,
                 feature_patch_size=8, width=64, num_blocks=4, scaling_factor=1.0):  # fmt: skip
        super().__init__()
        both = patch.AutoencoderPatch(dict(self.config))
        self.encoder, self.decoder = both.encoder, both.decoder

    def decode(self, latents, return_dict=False):
        return (self.decoder(latents),)


AUTOENCODERS = {kind.__name__: kind for kind in (AutoencoderTiny, AutoencoderKL, AutoencoderPatch)}


def default():
    """The layers of the model that ships."""
    configs = {name: part["config"] for name, part in json.loads(MANIFEST.read_text("utf-8"))["components"].items()}
    decoder = configs["vae_decoder"]
    vae = AUTOENCODERS[decoder["_class_name"]]
    return {
        "text_encoder": CLIPTextModel(CLIPTextConfig(**configs["text_encoder"])),
        "unet": UNet2DConditionModel.from_config(configs["unet"]),
        "vae": vae.from_config(decoder),
    }


def half():
    """Stable Diffusion 1.5 at half its widths."""
    text = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 6}
    return {
        "text_encoder": CLIPTextModel(CLIPTextConfig(**text)),
        "unet": UNet2DConditionModel(block_out_channels=(160, 320, 640, 640), cross_attention_dim=384),
        "vae": AutoencoderKL(**VAE | {"block_out_channels": (64, 128, 256, 256)}),
    }


SIZES = {"default": default, "half": half, "sd15": sd15}


class TextEncoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        return self.model(input_ids)[0]


class UNet(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, sample, timestep, context):
        return self.model(sample, timestep, context, return_dict=False)[0]


class Decoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, latents):
        pixels = self.model.decode(latents / self.model.config.scaling_factor, return_dict=False)[0]
        # clamp(…, 0, 1); of that itself the peer makes a shader that Firefox refuses in float16.
        return 1 - torch.relu(1 - torch.relu(pixels / 2 + 0.5))


def modules_of(models):
    return {
        "text_encoder": TextEncoder(models["text_encoder"]),
        "unet": UNet(models["unet"]),
        "vae_decoder": Decoder(models["vae"]),
    }


def inputs_of(models, ids, side, **kind):
    """Every module's inputs by name, of the right shapes; `kind` is a device and a dtype."""
    unet = models["unet"].config
    latents = torch.zeros(1, unet.in_channels, side, side, **kind)
    timestep = torch.full((1,), 500.0, device=kind.get("device"))
    context = torch.zeros(1, len(ids), unet.cross_attention_dim, **kind)
    return {
        "text_encoder": {"input_ids": torch.tensor([ids], dtype=torch.int32, device=kind.get("device"))},
        "unet": {"sample": latents, "timestep": timestep, "context": context},
        "vae_decoder": {"latents": latents},
    }


def counted(models, ids):
    """`{module: {side: GFLOP}}` and pixels per latent along one side, found without computing."""
    gflop = {}
    for side in LATENT_SIDES:
        inputs = inputs_of(models, ids, side, device="meta")
        for name, module in modules_of(models).items():
            with FlopCounterMode(display=False) as counter:
                output = module.eval()(*inputs[name].values())
            gflop.setdefault(name, {})[side] = counter.get_total_flops() / 1e9
    return {"gflop": gflop, "scale_px": output.shape[-1] // side}  # the decoder's, which comes last


def tokenize(folder, length):
    """The prompt's ids; the folder's tokenizer is told the text encoder's length."""
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": length}), "utf-8")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    return tokenizer(PROMPT, padding="max_length", truncation=True, max_length=length).input_ids


def into_range(folder):
    """Rewrites a decoder's last layers so that pictures lie within [0, 1]: clamped pixels would compare nothing."""
    kind = json.loads((folder / "config.json").read_text("utf-8"))["_class_name"]
    vae = AUTOENCODERS[kind].from_pretrained(folder, dtype=torch.float32).eval()
    decoder = vae.decoder
    # Their sum is the picture; the first one's bias moves it.
    last = {"AutoencoderTiny": lambda: [decoder.layers[-1]], "AutoencoderKL": lambda: [decoder.conv_out],
            "AutoencoderPatch": lambda: [decoder.linear, decoder.conv_out]}[kind]()  # fmt: skip
    middle, spread = (0.5, 0.15) if kind == "AutoencoderTiny" else (0.0, 0.3)
    seen = {}
    hooks = [layer.register_forward_hook(lambda module, _inputs, output: seen.update({module: output})) for layer in last]
    generator = torch.Generator("cpu").manual_seed(0)
    vae.decode(torch.randn(1, vae.config.latent_channels, TRACED_SIDE, TRACED_SIDE, generator=generator))
    for layer, hook in zip(last, hooks):
        hook.remove()
        output = seen[layer]
        gain = spread / len(last) / output.std((0, 2, 3))
        layer.bias.copy_((layer.bias - output.mean((0, 2, 3))) * gain + middle / len(last))
        layer.weight.mul_(gain[:, None, None, None])
    vae.half().save_pretrained(folder)


def export(models, ids, folder, dtype):
    folder.mkdir()
    inputs = inputs_of(models, ids, TRACED_SIDE, dtype=dtype)
    for name, module in modules_of(models).items():
        spatial = [key for key in inputs[name] if key in ("sample", "latents")]
        torch.onnx.export(
            module.to(dtype).eval(),
            tuple(inputs[name].values()),
            folder / f"{name}.onnx",
            input_names=list(inputs[name]),
            output_names=["output"],
            dynamic_axes={key: {2: "height", 3: "width"} for key in spatial},
            opset_version=OPSET,
            dynamo=False,  # ten times as fast, and its graphs are smaller
        )


def make(size, out):
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore")
    diffusers = out / "diffusers"
    with torch.device("meta"):
        models = SIZES[size]()
    write_folder("StableDiffusionPipeline", models, diffusers)
    into_range(diffusers / "vae")
    ids = tokenize(diffusers / "tokenizer", models["text_encoder"].config.max_position_embeddings)
    counts = counted(models, ids)
    unet = models["unet"].config
    models = {name: type(model).from_pretrained(diffusers / name, dtype=torch.float32) for name, model in models.items()}
    # torch's fused attention with a causal mask would leave half of the float16 graph in float32.
    models["text_encoder"].set_attn_implementation("eager")
    if size != "sd15":
        export(models, ids, out / "onnx-f32", torch.float32)
    export(models, ids, out / "onnx-f16", torch.float16)
    facts = {
        "prompt": PROMPT,
        "ids": ids,
        "latent_channels": unet.in_channels,
        "context_width": unet.cross_attention_dim,
        "parameters": {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()},
        **counts,
    }
    # Last, so that a folder without it is known to be unfinished.
    (out / "peer.json").write_text(json.dumps(facts), "utf-8")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("size", choices=SIZES)
    arguments.add_argument("out", type=Path)
    options = arguments.parse_args()
    make(options.size, options.out)


if __name__ == "__main__":
    main()
