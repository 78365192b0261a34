"""Makes the goldens of a pack's optional components: the upscaler and the scorer.

    python make_optional.py        # after make_models.py, whose tiny_flow gets both; seconds

It writes below goldens/:

    optional_index.json                     every case: kind, files, what it covers
    tiny_flow/upscaler/, tiny_flow/scorer/  as `fraise pack` takes them, named in tiny_flow's model_index.json
    upscaler_x4/                            an upscaler that no pipeline here has
    …/golden/CASE.safetensors               inputs and outputs
"""

import json
import shutil

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.utils import logging as transformers_logging

from make_models import DIFFUSERS_FILE, assert_alive, noise, randomise, token_ids, weights_of
from make_prompts import GOLDENS

MODEL = "tiny_flow"


class SRVGGNetCompact(nn.Module):
    """Real-ESRGAN's compact network, tensor names included.

    Source: Wang et al., "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data" (2021);
    its repository's realesrgan/archs/srvgg_arch.py.
    """

    def __init__(self, num_feat, num_conv, upscale):
        super().__init__()
        self.config = dict(num_in_ch=3, num_out_ch=3, num_feat=num_feat, num_conv=num_conv, upscale=upscale, act_type="prelu")
        widths = [3] + [num_feat] * (num_conv + 1)
        layers = []
        for inputs, outputs in zip(widths, widths[1:]):
            layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.PReLU(num_feat)]
        self.body = nn.ModuleList([*layers, nn.Conv2d(num_feat, 3 * upscale**2, 3, 1, 1)])

    def forward(self, x):
        out = x
        for layer in self.body:
            out = layer(out)
        upscale = self.config["upscale"]
        return F.pixel_shuffle(out, upscale) + F.interpolate(x, scale_factor=upscale, mode="nearest")


class Index:
    def __init__(self):
        self.cases = []

    def add(self, name, kind, folder, tensors, features, files):
        golden = f"{folder}/golden/{name}.safetensors"
        (GOLDENS / folder / "golden").mkdir(exist_ok=True)
        save_file({key: value.contiguous() for key, value in tensors.items()}, GOLDENS / golden)
        self.cases.append({"name": name, "kind": kind, "golden": golden, "features": features} | files)
        print(f"{name:24}", {key: list(value.shape) for key, value in tensors.items()})


def write(folder, tensors, file_name, config):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file(tensors, folder / file_name, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def upscaler_case(index, name, folder, shape, seed, image):
    """`output` is clamped to [0, 1], as the pipeline takes it."""
    module = randomise(SRVGGNetCompact(*shape), seed)
    with torch.no_grad():
        module.body[-1].weight.copy_((0.3 * module.body[-1].weight).half().float())
    assert_alive(name, module, lambda: module(image))
    output = module(image).clamp(0, 1)
    clamped = ((output == 0) | (output == 1)).float().mean().item()
    if clamped > 0.6:
        raise SystemExit(f"{name}: {clamped:.0%} of the picture is clamped")
    write(GOLDENS / folder, weights_of(module), DIFFUSERS_FILE, {"_class_name": "SRVGGNetCompact"} | module.config)
    features = [f"num_feat={shape[0]}", f"num_conv={shape[1]}", f"upscale={shape[2]}"]
    files = {"config": f"{folder}/config.json", "weights": f"{folder}/{DIFFUSERS_FILE}"}
    index.add(name, "upscaler", folder.removesuffix("/upscaler"), {"image": image, "output": output}, features, files)


def scorer_case(index):
    """Pictures of 8 bits, one to be made smaller and one larger; what transformers and torch make of them."""
    folder = GOLDENS / MODEL
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval()
    config = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        projection_dim=40,
        hidden_act="gelu",
    )
    vision = randomise(CLIPVisionModelWithProjection(config), 81)
    text_projection = randomise(nn.Linear(text_encoder.config.hidden_size, 40, bias=False), 82)
    pictures = [(noise(83 + i, 1, 3, *size) * 0.3 + 0.5).clamp(0, 1) for i, size in enumerate([(57, 40), (20, 37)])]
    pictures = [(picture * 255).round() / 255 for picture in pictures]

    resized = torch.cat(
        [F.interpolate(p, (32, 32), mode="bilinear", antialias=True, align_corners=False) for p in pictures]
    )
    forward = lambda: vision(pixel_values=(resized - 0.5) / 0.5).image_embeds
    assert_alive("scorer", vision, forward)
    image_embeds = forward()
    prompt = "a photo of the red strawberry"
    pooled = text_encoder(token_ids(tokenizer, [prompt])).pooler_output
    text_embeds = text_projection(pooled)
    scores = F.cosine_similarity(image_embeds, text_embeds)

    tensors = weights_of(vision) | {
        "text_projection.weight": text_projection.weight.half(),
        "logit_scale": torch.tensor(2.6592).half(),
    }
    saved = json.loads(config.to_json_string()) | {"architectures": ["CLIPVisionModelWithProjection"], "dtype": "float16"}
    write(folder / "scorer", tensors, "model.safetensors", saved)
    outputs = {"resized": resized, "image_embeds": image_embeds, "text_embeds": text_embeds, "scores": scores}
    inputs = {f"picture_{i}": picture for i, picture in enumerate(pictures)}
    features = ["hidden_act=gelu", "antialiased resizing, down and up"]
    index.add("tiny_flow_scorer", "scorer", MODEL, inputs | outputs, features, {"scorer_of": MODEL, "prompt": prompt})


def name_them():
    """In model_index.json; diffusers, which knows neither, goes on loading the folder."""
    path = GOLDENS / MODEL / "model_index.json"
    index = json.loads(path.read_text()) | {
        "scorer": ["transformers", "CLIPVisionModelWithProjection"],
        "upscaler": ["fraise", "SRVGGNetCompact"],
    }
    path.write_text(json.dumps(dict(sorted(index.items())), indent=2) + "\n", "utf-8")
    StableDiffusionPipeline.from_pretrained(GOLDENS / MODEL)


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    index = Index()
    image = noise(91, 2, 3, 19, 13) * 0.3 + 0.5
    upscaler_case(index, "tiny_flow_upscaler", f"{MODEL}/upscaler", (32, 2, 2), 92, image.clamp(0, 1))
    upscaler_case(index, "upscaler_x4", "upscaler_x4", (12, 1, 4), 93, image[:1].clamp(0, 1))
    scorer_case(index)
    name_them()
    (GOLDENS / "optional_index.json").write_text(json.dumps({"cases": index.cases}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
