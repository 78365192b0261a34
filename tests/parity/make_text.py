"""Makes the goldens of text conditioning: what diffusers' `encode_prompt` gives, and AUTOMATIC1111's syntax.

    python make_text.py            # after make_models.py, whose tokenizers and text encoders it reads; seconds

It writes below goldens/:

    text_index.json                        every case: kind, files, what it covers
    tiny_sdxl_text/text_encoder_2/         SDXL's second text encoder at tiny width, random weights
    tiny_sdxl_text/golden/CASE.safetensors inputs and outputs

The second encoder is as published: gelu, a projection, `eos_token_id` 2 (the wrong id of old files). SDXL's first is
tiny_sd's, and tiny_lcm's is Stable Diffusion 2's kind (gelu, padding `!`).
"""

import json
import shutil

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from make_models import assert_alive, randomise, token_ids, weights_of
from make_prompts import GOLDENS, chunks

MODEL = "tiny_sdxl_text"
# A mean nearer to zero than this (in standard deviations) would make its restoration a matter of rounding.
SAFE_MEAN = 0.01

SD1 = {"tokenizers": ["tiny_sd/tokenizer"], "text_encoders": ["tiny_sd/text_encoder"]}
SD2 = {"tokenizers": ["tiny_lcm/tokenizer"], "text_encoders": ["tiny_lcm/text_encoder"]}
SDXL = {
    "tokenizers": ["tiny_sd/tokenizer", "tiny_lcm/tokenizer"],
    "text_encoders": ["tiny_sd/text_encoder", f"{MODEL}/text_encoder_2"],
}


def second_text_encoder(vocab_size):
    config = CLIPTextConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        hidden_act="gelu",
        vocab_size=vocab_size,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
        max_position_embeddings=77,
        projection_dim=24,
    )
    return randomise(CLIPTextModelWithProjection(config), 51)


def save(module, folder):
    folder.mkdir(parents=True)
    save_file(weights_of(module), folder / "model.safetensors", {"format": "pt"})
    config = json.loads(module.config.to_json_string()) | {"dtype": "float16"}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


class Towers:
    """The tokenizers and text encoders that a case names."""

    def __init__(self, files):
        self.tokenizers = [CLIPTokenizer.from_pretrained(GOLDENS / path) for path in files["tokenizers"]]
        classes = [CLIPTextModel, CLIPTextModelWithProjection]
        pairs = zip(classes, files["text_encoders"])
        self.encoders = [kind.from_pretrained(GOLDENS / path, dtype=torch.float32).eval() for kind, path in pairs]

    def diffusers(self, case):
        """What the family's pipeline computes: the negative prompt's embeddings first."""
        parts = dict(vae=None, unet=None, scheduler=None)
        guided, negative = case["guided"], case["negative"]
        if len(self.encoders) == 1:
            pipeline = StableDiffusionPipeline(
                text_encoder=self.encoders[0], tokenizer=self.tokenizers[0], safety_checker=None,
                feature_extractor=None, requires_safety_checker=False, **parts,
            )  # fmt: skip
            prompt, negative = pipeline.encode_prompt(case["prompt"], "cpu", 1, guided, negative)
            return {"context": torch.cat([negative, prompt]) if guided else prompt}
        pipeline = StableDiffusionXLPipeline(
            text_encoder=self.encoders[0], text_encoder_2=self.encoders[1], tokenizer=self.tokenizers[0],
            tokenizer_2=self.tokenizers[1], force_zeros_for_empty_prompt=case["force_zeros_for_empty_prompt"],
            add_watermarker=False, **parts,
        )  # fmt: skip
        encoded = pipeline.encode_prompt(
            case["prompt"], device="cpu", do_classifier_free_guidance=guided, negative_prompt=negative
        )
        prompt, negative, pooled, negative_pooled = encoded
        if not guided:
            return {"context": prompt, "pooled": pooled}
        return {"context": torch.cat([negative, prompt]), "pooled": torch.cat([negative_pooled, pooled])}

    def a1111(self, case):
        """Chunks through each encoder, weighted, the mean of each chunk restored."""
        guided, negative = case["guided"], case["negative"] or ""
        prompts = [negative, case["prompt"]] if guided else [case["prompt"]]
        contexts, pooled = [], []
        for prompt in prompts:
            states = []
            for index, (tokenizer, encoder) in enumerate(zip(self.tokenizers, self.encoders)):
                capacity = tokenizer.model_max_length - 2
                most = max(len(chunks(tokenizer, other, capacity)) for other in prompts)
                mine = chunks(tokenizer, prompt, capacity)
                mine += [([], [])] * (most - len(mine))
                rows = [self.chunk(tokenizer, encoder, chunk) for chunk in mine]
                states.append(torch.cat([row for row, _ in rows], 1))
                if index == 1:
                    pooled.append(rows[0][1])
            contexts.append(torch.cat(states, 2))
        if guided and len(self.encoders) == 2 and case["force_zeros_for_empty_prompt"] and negative == "":
            contexts[0], pooled[0] = torch.zeros_like(contexts[0]), torch.zeros_like(pooled[0])
        return {"context": torch.cat(contexts)} | ({"pooled": torch.cat(pooled)} if pooled else {})

    def chunk(self, tokenizer, encoder, chunk):
        ids, weights = chunk
        rest = tokenizer.model_max_length - 2 - len(ids)
        padding = [tokenizer.pad_token_id] * rest
        tokens = torch.tensor([[tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *padding]])
        output = encoder(tokens, output_hidden_states=True)
        states = output.hidden_states[-2] if len(self.encoders) == 2 else output.last_hidden_state
        multipliers = torch.tensor([1.0, *weights, 1.0] + [1.0] * rest)[None, :, None]
        weighted = states * multipliers
        for mean in (states.mean(), weighted.mean()):
            if abs(mean) < SAFE_MEAN * states.std():
                raise SystemExit(f"a mean of {mean:.1e} is too near to zero for a golden")
        return weighted * (states.mean() / weighted.mean()), getattr(output, "text_embeds", None)


class Index:
    def __init__(self):
        self.cases = []

    def add(self, name, tensors, case):
        golden = f"{MODEL}/golden/{name}.safetensors"
        save_file({key: value.contiguous() for key, value in tensors.items()}, GOLDENS / golden)
        self.cases.append({"name": name, "golden": golden} | case)
        print(f"{name:28}", {key: list(value.shape) for key, value in tensors.items()})


def projection_case(index, encoder, tokenizer):
    ids = token_ids(tokenizer, ["a photo of the red strawberry", "", "Night sea, 2 paintings! 草莓"])
    forward = lambda: encoder(ids, output_hidden_states=True)
    both = lambda: torch.cat([forward().hidden_states[-2].flatten(), forward().text_embeds.flatten()])
    assert_alive("text_encoder_2", encoder, both)
    # The pooled state goes through the last layer and the final norm, which the other output does not see.
    assert_alive("text_encoder_2's last layer", encoder.text_model.encoder.layers[-1], lambda: forward().text_embeds)
    tensors = {"input_ids": ids.int(), "output": forward().hidden_states[-2], "text_embeds": forward().text_embeds}
    folder = f"{MODEL}/text_encoder_2"
    case = {"kind": "clip_text_with_projection", "features": ["hidden_act=gelu", "projection", "eos_token_id=2"]}
    files = {"config": f"{folder}/config.json", "weights": f"{folder}/model.safetensors"}
    index.add("tiny_sdxl_text_encoder_2", tensors, case | files)


UNGUIDED = object()
PROMPT, NEGATIVE = "a photo of the red strawberry", "blurry, low quality"
WEIGHTED = "a (photo:1.3) of the ((red)) strawberry on [green] grass, sea \\(at night\\)"
LONG = "painting of the red sea, " * 13 + "(a strawberry:1.2) BREAK at [night]"
# name, files, prompt, negative, syntax, force zeros, what it covers
CONDITIONING = [
    ("sd2_plain", SD2, PROMPT, NEGATIVE, "plain", True, ["padding `!`"]),
    ("sdxl_plain", SDXL, PROMPT, NEGATIVE, "plain", True, ["two encoders side by side", "pooled"]),
    ("sdxl_no_negative", SDXL, PROMPT, None, "plain", True, ["zeros for an empty negative prompt"]),
    ("sdxl_negative_not_zeroed", SDXL, PROMPT, None, "plain", False, ["force_zeros_for_empty_prompt=false"]),
    ("sdxl_unguided_truncated", SDXL, "a red strawberry " * 30, UNGUIDED, "plain", True, ["truncation at 77"]),
    ("sd1_a1111_weights", SD1, WEIGHTED, UNGUIDED, "a1111", True, ["weights", "escapes", "the mean restored"]),
    ("sd1_a1111_chunks", SD1, LONG, NEGATIVE, "a1111", True, ["chunks cut at a comma", "BREAK", "the shorter prompt filled up with empty chunks"]),
    ("sd2_a1111", SD2, WEIGHTED, "(blurry:1.4) BREAK low quality", "a1111", True, ["padding `!` in chunks"]),
    ("sdxl_a1111", SDXL, "(red:1.3) sea BREAK [night]", UNGUIDED, "a1111", True, ["each encoder weighted for itself", "pooled from the first chunk"]),
    ("sdxl_a1111_no_negative", SDXL, WEIGHTED, "", "a1111", True, ["zeros for an empty negative prompt"]),
]


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    shutil.rmtree(GOLDENS / MODEL, ignore_errors=True)
    tokenizer = CLIPTokenizer.from_pretrained(GOLDENS / "tiny_lcm/tokenizer")
    encoder = second_text_encoder(len(tokenizer))
    save(encoder, GOLDENS / MODEL / "text_encoder_2")
    (GOLDENS / MODEL / "golden").mkdir()
    index = Index()
    projection_case(index, encoder, tokenizer)
    for name, files, prompt, negative, syntax, force_zeros, features in CONDITIONING:
        guided = negative is not UNGUIDED
        request = {"prompt": prompt, "guided": guided, "negative": negative if guided else None, "prompt_syntax": syntax}
        case = {"kind": "conditioning", "features": features, **files, **request, "force_zeros_for_empty_prompt": force_zeros}
        towers = Towers(files)
        if name == "sdxl_negative_not_zeroed":
            # What an empty negative prompt gives in spite of the flag; a test compares it with this golden too.
            empty = towers.diffusers(case | {"negative": "", "force_zeros_for_empty_prompt": True})
            assert all(torch.equal(value, empty[key]) for key, value in towers.diffusers(case).items())
        index.add(name, towers.diffusers(case) if syntax == "plain" else towers.a1111(case), case)
    (GOLDENS / "text_index.json").write_text(json.dumps({"cases": index.cases}, indent=1) + "\n", "utf-8")
    total = sum(file.stat().st_size for file in (GOLDENS / MODEL).rglob("*") if file.is_file())
    print(f"{total / 1e3:.0f} kB in all")


if __name__ == "__main__":
    main()
