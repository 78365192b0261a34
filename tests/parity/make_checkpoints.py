"""Makes the goldens of `crate/engine/tests/convert.rs`: original names of checkpoints, and LoRAs merged by diffusers.

    pip install -r requirements.txt
    python make_checkpoints.py [OUT]       # OUT defaults to goldens/ beside this file; half a minute on one core

For each family a tiny model is built by diffusers, and its tensors are listed as the original layout has them:

    OUT/checkpoints/FAMILY.json     configurations, and one line per tensor: component, name in diffusers, name in the
                                    checkpoint, what lies between (`=` `T` for transposed, `0/3` `1/3` `2/3` for thirds
                                    of the rows), shape in the checkpoint
    OUT/checkpoints/lora_*.safetensors, lora_*_merged.safetensors    LoRAs for tiny_sd, and its weights with them fused

Numbers are not stored: `numbers` below makes them from a tensor's name, here and in the Rust test alike, exactly. The
names are this script's own; it hands a checkpoint with them to diffusers' `convert_ldm_unet_checkpoint` and its siblings
and checks that every tensor of the model comes back, with its numbers.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

UNET, VAE = "model.diffusion_model.", "first_stage_model."


def numbers(name, shape):
    """Multiples of 2^-13 within ±1/8, by the tensor's name: the same in float16 and float32."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x01000193) & 0xFFFFFFFF
    count = int(np.prod(shape)) if shape else 1
    mixed = (np.arange(count, dtype=np.uint64) * 2654435761 + seed) & 0xFFFFFFFF
    values = ((mixed >> 21).astype(np.float32) - 1024) / 8192
    return torch.from_numpy(values.reshape(shape))


# ---------------------------------------------------------------- names in the original layout


def unet_name(name, layers):
    """The checkpoint's name of a UNet tensor, and whether there is a second module before an upsampler."""
    fixed = {
        "time_embedding.cond_proj": "time_embed.cond_proj",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    module, _, parameter = name.rpartition(".")
    if module in fixed:
        return f"{fixed[module]}.{parameter}"
    resnet = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    kind, rest = name.split(".", 1)
    if kind == "mid_block":
        part, index, rest = rest.split(".", 2)
        block = {"resnets": {"0": "0", "1": "2"}, "attentions": {"0": "1"}}[part][index]
        place = f"middle_block.{block}"
    else:
        level, part, index, rest = rest.split(".", 3)
        step, down = int(level) * (layers + 1), kind == "down_blocks"
        if part == "downsamplers":
            return f"input_blocks.{step + layers + 1}.0.op.{rest.split('.')[-1]}"
        if part == "upsamplers":
            return f"output_blocks.{step + layers}.UP.{rest}"
        inner = {"resnets": "0", "attentions": "1"}[part]
        place = f"input_blocks.{step + int(index) + 1}.{inner}" if down else f"output_blocks.{step + int(index)}.{inner}"
    if part == "resnets":
        layer, parameter = rest.rsplit(".", 1)
        rest = f"{resnet[layer]}.{parameter}"
    return f"{place}.{rest}"


def vae_name(name, levels):
    name = re.sub(r"^(\w+)\.down_blocks\.(\d+)\.resnets\.(\d+)", r"\1.down.\2.block.\3", name)
    name = re.sub(r"\.down_blocks\.(\d+)\.downsamplers\.0", r".down.\1.downsample", name)
    up = lambda match: f".up.{levels - 1 - int(match[1])}."  # noqa: E731
    name = re.sub(r"\.up_blocks\.(\d+)\.", up, name)
    name = name.replace(".resnets.", ".block.") if ".up." in name else name
    name = name.replace(".upsamplers.0.", ".upsample.")
    name = re.sub(r"\.mid_block\.resnets\.(\d)", lambda match: f".mid.block_{int(match[1]) + 1}", name)
    name = name.replace(".mid_block.attentions.0.", ".mid.attn_1.")
    for new, old in [("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")]:
        name = re.sub(rf"(attn_1)\.{re.escape(new)}\.", rf"\1.{old}.", name)
    return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def open_clip_name(name):
    """The checkpoint's name of a text encoder's tensor, and the part of it that is meant."""
    fixed = {
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.final_layer_norm.weight": "ln_final.weight",
        "text_model.final_layer_norm.bias": "ln_final.bias",
    }
    if name in fixed:
        return fixed[name], "="
    if name == "text_projection.weight":
        return "text_projection", "T"
    name = name.replace("text_model.encoder.layers", "transformer.resblocks").replace("self_attn", "attn")
    name = name.replace("layer_norm", "ln_").replace("fc1", "c_fc").replace("fc2", "c_proj")
    for third, projection in enumerate(["q_proj", "k_proj", "v_proj"]):
        if projection in name:
            return name.replace(f"{projection}.", "in_proj_"), f"{third}/3"
    return name, "="


# ---------------------------------------------------------------- families


def text_model(cls, vocab_size, hidden_act, width, layers, projection):
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=width * 2,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        hidden_act=hidden_act,
        vocab_size=vocab_size,
        bos_token_id=vocab_size - 2,
        eos_token_id=vocab_size - 1,
        projection_dim=projection,
    )
    return cls(config)


def autoencoder(**config):
    base = dict(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
    )
    return AutoencoderKL(**base | config)


def sd1(vocab_size):
    """With LCM's guidance embedding, which is the only tensor that such models add."""
    return dict(
        unet=UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(32, 64, 64),
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=2,
            cross_attention_dim=64,
            attention_head_dim=8,
            time_cond_proj_dim=32,
        ),
        vae=autoencoder(sample_size=512, scaling_factor=0.18215),
        text_encoder=text_model(CLIPTextModel, vocab_size, "quick_gelu", 64, 2, 64),
    )


def sd2(vocab_size):
    return dict(
        unet=UNet2DConditionModel(
            sample_size=96,
            block_out_channels=(64, 128, 128, 128),
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            layers_per_block=1,
            cross_attention_dim=64,
            attention_head_dim=(1, 2, 2, 2),
            use_linear_projection=True,
        ),
        vae=autoencoder(sample_size=768, scaling_factor=0.18215),
        text_encoder=text_model(CLIPTextModel, vocab_size, "gelu", 64, 23, 64),
    )


def sdxl(vocab_size):
    return dict(
        unet=UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(64, 128, 128),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=2,
            cross_attention_dim=192,
            attention_head_dim=(1, 2, 2),
            transformer_layers_per_block=(1, 1, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=6 * 256 + 64,
        ),
        vae=autoencoder(sample_size=1024, scaling_factor=0.13025),
        text_encoder=text_model(CLIPTextModel, vocab_size, "quick_gelu", 64, 2, 64),
        text_encoder_2=text_model(CLIPTextModelWithProjection, vocab_size, "gelu", 128, 3, 64),
    )


# Prefix of each text encoder's tensors.
TEXT = {
    "sd1": {"text_encoder": "cond_stage_model.transformer."},
    "sd2": {"text_encoder": "cond_stage_model.model."},
    "sdxl": {
        "text_encoder": "conditioner.embedders.0.transformer.",
        "text_encoder_2": "conditioner.embedders.1.model.",
    },
}


class Checkpoint:
    """Tensors under original names, and what each tensor of the model is made of."""

    def __init__(self, family, models):
        self.family, self.models = family, models
        self.shapes, self.lines = {}, []
        for component, module in models.items():
            for name, tensor in module.state_dict().items():
                if "position_ids" not in name:
                    self.add(component, name, list(tensor.shape))

    def add(self, component, name, shape):
        if component == "unet":
            source, form = UNET + unet_name(name, self.models["unet"].config.layers_per_block), "="
            attends = lambda: any(f"{source.split('.UP.')[0]}.1.norm." in other for other in self.shapes)  # noqa: E731
            source = source.replace(".UP.", ".2." if ".UP." in source and attends() else ".1.")
        elif component == "vae":
            source, form = VAE + vae_name(name, len(self.models["vae"].config.block_out_channels)), "="
            if ".attn_1." in source and len(shape) == 2:
                shape = [*shape, 1, 1]
        else:
            # transformers 5 keeps the first encoder's tensors one level higher than published files do.
            name = name if name.startswith(("text_model.", "text_projection.")) else "text_model." + name
            prefix, form = TEXT[self.family][component], "="
            if prefix.endswith("model."):
                source, form = open_clip_name(name)
                source = prefix + source
            else:
                source = prefix + name
            if form == "T":
                shape = shape[::-1]
            elif form != "=":
                shape = [shape[0] * 3, *shape[1:]]
        self.shapes[source] = shape
        self.lines.append((component, name, source, form))

    def tensors(self):
        return {name: numbers(name, shape) for name, shape in self.shapes.items()}

    def expected(self):
        """What each model's tensors should be, by this script's own account."""
        tensors, expected = self.tensors(), {component: {} for component in self.models}
        for component, name, source, form in self.lines:
            tensor = tensors[source]
            if form == "T":
                tensor = tensor.T
            elif form != "=":
                tensor = tensor.chunk(3)[int(form[0])]
            shape = tensor.shape
            expected[component][name] = tensor.reshape(shape[:2]) if ".attn_1." in source else tensor
        return expected

    def converted(self):
        """The same as diffusers converts the checkpoint."""
        tensors, models = self.tensors(), self.models
        converted = {
            "unet": convert_ldm_unet_checkpoint(dict(tensors), models["unet"].config),
            "vae": convert_ldm_vae_checkpoint(dict(tensors), models["vae"].config),
        }
        for component, prefix in TEXT[self.family].items():
            if prefix.endswith("model."):
                model = models[component]
                converted[component] = convert_open_clip_checkpoint(model, dict(tensors), prefix=prefix)
            else:
                converted[component] = convert_ldm_clip_checkpoint(dict(tensors))
        return converted

    def check(self):
        expected, converted = self.expected(), self.converted()
        for component, tensors in expected.items():
            if component == "unet":
                # diffusers' conversion leaves it out and so breaks LCM checkpoints; everyone's name for it is this.
                cond_proj = self.tensors().get(f"{UNET}time_embed.cond_proj.weight")
                converted[component] |= {} if cond_proj is None else {"time_embedding.cond_proj.weight": cond_proj}
            if tensors.keys() != converted[component].keys():
                raise SystemExit(f"{self.family} {component}: {tensors.keys() ^ converted[component].keys()}")
            for name, tensor in tensors.items():
                if not torch.equal(tensor, converted[component][name].reshape(tensor.shape)):
                    raise SystemExit(f"{self.family} {component}.{name} differs from diffusers' conversion")

    def save(self, folder):
        configs = {
            component: json.loads(
                module.config.to_json_string() if component.startswith("text") else module.to_json_string()
            )
            for component, module in self.models.items()
        }
        left_out = {
            "model_ema.diffusion_modelinput_blocks00weight": [4],
            "alphas_cumprod": [1000],
            "global_step": [],
        }
        if self.family == "sd1":
            left_out["cond_stage_model.transformer.text_model.embeddings.position_ids"] = [1, 77]
        if self.family == "sd2":
            left_out["cond_stage_model.model.text_projection"] = [64, 64]
            left_out["cond_stage_model.model.logit_scale"] = []
            for name, shape in list(self.shapes.items()):
                if ".resblocks.22." in name:
                    left_out[name.replace(".22.", ".23.")] = shape
        lines = [
            f"{component} {name} {source} {form} {'x'.join(map(str, self.shapes[source]))}"
            for component, name, source, form in self.lines
        ]
        golden = dict(configs=configs, left_out=left_out, tensors=lines)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(golden, indent=0, sort_keys=True, ensure_ascii=False)
        (folder / f"{self.family}.json").write_text(text + "\n", "utf-8")


# ---------------------------------------------------------------- LoRAs


UNET_MODULES = [
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0",
    "down_blocks.0.attentions.0.proj_in",
    "down_blocks.0.resnets.0.conv1",
    "time_embedding.linear_1",
]
TEXT_MODULES = ["encoder.layers.0.self_attn.q_proj", "encoder.layers.1.mlp.fc1"]
WEIGHT = 0.75


def factors(module, shape, rank):
    down = [rank, *shape[1:]]
    up = [shape[0], rank, *([1] * (len(shape) - 2))]
    return numbers(module + ".down", down) * 4, numbers(module + ".up", up) * 4


def load_and_fuse(pipeline, tensors):
    with tempfile.TemporaryDirectory() as folder:
        save_file(tensors, Path(folder) / "lora.safetensors", {"format": "pt"})
        pipeline.load_lora_weights(folder, weight_name="lora.safetensors")
    pipeline.fuse_lora(lora_scale=WEIGHT)
    pipeline.unload_lora_weights()


def make_loras(goldens, folder):
    for kind in ["kohya", "peft"]:
        pipeline = StableDiffusionPipeline.from_pretrained(goldens / "tiny_sd", torch_dtype=torch.float32)
        file, reference, changed = {}, {}, []
        modules = [("unet", pipeline.unet, UNET_MODULES), ("text_encoder", pipeline.text_encoder, TEXT_MODULES)]
        for component, model, names in modules:
            weights = model.state_dict()
            for index, name in enumerate(names):
                weight = weights.get(f"{name}.weight", weights.get(f"text_model.{name}.weight"))
                # One α and one rank in kohya's file: diffusers loses the α of attention modules where they differ.
                rank, alpha = (4, 2.0) if kind == "kohya" else (4 + index % 2, None)
                down, up = factors(f"{component}.{name}", list(weight.shape), rank)
                published = name if component == "unet" else f"text_model.{name}"
                if kind == "kohya":
                    module = ("lora_unet_" if component == "unet" else "lora_te_") + published.replace(".", "_")
                    file[f"{module}.lora_down.weight"], file[f"{module}.lora_up.weight"] = down, up
                    file[f"{module}.alpha"] = torch.tensor(alpha)
                    up = up * (alpha / rank)
                else:
                    module = f"{component}.{published}"
                    file[f"{module}.lora_A.weight"], file[f"{module}.lora_B.weight"] = down, up
                # With transformers 5 diffusers disregards kohya's text encoder attention: those modules go by PEFT's
                # names to the reference.
                module = f"{component}.{published}"
                if component == "text_encoder" or kind == "peft":
                    reference[f"{module}.lora_A.weight"], reference[f"{module}.lora_B.weight"] = down, up
                changed.append((component, model, name, published))
        save_file(file, folder / f"lora_{kind}.safetensors", {"format": "pt"})
        if kind == "kohya":
            of_unet = {name: tensor for name, tensor in file.items() if name.startswith("lora_unet_")}
            load_and_fuse(pipeline, of_unet)
        load_and_fuse(pipeline, reference)
        merged = {}
        for component, model, name, published in changed:
            after = model.state_dict()
            tensor = after.get(f"{name}.weight", after.get(f"text_model.{name}.weight"))
            merged[f"{component}.{published}.weight"] = tensor.float().contiguous()
        before = StableDiffusionPipeline.from_pretrained(goldens / "tiny_sd", torch_dtype=torch.float32)
        for component, _, name, published in changed:
            weights = getattr(before, component).state_dict()
            weight = weights.get(f"{name}.weight", weights.get(f"text_model.{name}.weight"))
            moved = (merged[f"{component}.{published}.weight"] - weight).abs().max().item()
            if moved < 1e-2:
                raise SystemExit(f"{kind}: {component}.{name} moved by only {moved:.1e}")
        save_file(merged, folder / f"lora_{kind}_merged.safetensors", {"format": "pt"})


def main():
    goldens = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "goldens"
    vocab_size = len(json.loads((goldens / "tiny_sd/tokenizer/vocab.json").read_text("utf-8")))
    folder = goldens / "checkpoints"
    for family, build in [("sd1", sd1), ("sd2", sd2), ("sdxl", sdxl)]:
        checkpoint = Checkpoint(family, build(vocab_size))
        checkpoint.check()
        checkpoint.save(folder)
    make_loras(goldens, folder)


if __name__ == "__main__":
    main()
