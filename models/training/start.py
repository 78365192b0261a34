"""A denoiser that begins with what an earlier model knew, though its words and its latents were others.

    python unpack.py --pack ../fraise-1 --out work/start && python start.py --work work

The UNet's inner layers are taken over. Its first and last convolutions are composed with the linear maps between the two
kinds of latents, fitted on a few pictures. Words that the old vocabulary had keep their embeddings; a new thing, place,
colour or manner begins with one vector for all its names in both languages.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

import run
from denoiser import Denoiser, prepare_captions
from render import fit_components, paint_many
from words import COLOURS, COUNTS, MANNERS, PLACES, POSITIONS, RELATIONS, SIZES, THINGS

PICTURES = 300


def _affine(x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """(matrix [b, a], offset [b]) of the least-squares map from x [N, a] to y [N, b]."""
    solution = np.linalg.lstsq(np.concatenate([x, np.ones((len(x), 1))], 1), y, rcond=None)[0]
    return torch.from_numpy(solution[:-1].T).float(), torch.from_numpy(solution[-1]).float()


@torch.no_grad()
def _take_unet(model: UNet2DConditionModel, old: Path, work: Path) -> None:
    pictures = paint_many(work, 60, range(PICTURES))[0]
    vae = AutoencoderTiny.from_pretrained(old / "vae").eval()
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    theirs = torch.cat([vae.encoder(part) for part in pixels.split(50)]).permute(0, 2, 3, 1).flatten(0, 2).numpy()
    ours = fit_components(work).encode(pictures).transpose(0, 2, 3, 1).reshape(len(theirs), -1)
    into, _ = _affine(ours, theirs)
    out, offset = _affine(theirs, ours)
    weights = UNet2DConditionModel.from_pretrained(old / "unet").state_dict()
    weights["conv_in.weight"] = torch.einsum("ochw,ck->okhw", weights["conv_in.weight"], into)
    weights["conv_out.weight"] = torch.einsum("kc,cihw->kihw", out, weights["conv_out.weight"])
    weights["conv_out.bias"] = out @ weights["conv_out.bias"] - offset
    model.load_state_dict(weights)


@torch.no_grad()
def _take_text(model: CLIPTextModel, old: Path, new: CLIPTokenizer) -> None:
    source = CLIPTextModel.from_pretrained(old / "text_encoder").state_dict()
    before = CLIPTokenizer.from_pretrained(old / "tokenizer")
    key = next(name for name in source if name.endswith("token_embedding.weight"))
    known, table, spread = before.get_vocab(), source[key], source[key].std()
    fresh = torch.zeros(len(new), table.shape[1])
    generator = torch.Generator().manual_seed(21)
    groups = [w.en + w.zh for g in (THINGS, PLACES, COLOURS, MANNERS, SIZES, POSITIONS, RELATIONS) for w in g]
    groups += [list(names) for names in COUNTS.values()]
    of_token: dict[int, torch.Tensor] = {}
    for names in groups:
        vector = torch.randn(table.shape[1], generator=generator) * spread
        for name in names:
            for token in new(name, add_special_tokens=False).input_ids:
                of_token.setdefault(token, vector)
    taken = 0
    for token, i in new.get_vocab().items():
        if token in known:
            fresh[i], taken = table[known[token]], taken + 1
        else:
            fresh[i] = of_token.get(i, torch.randn(table.shape[1], generator=generator) * spread)
    source[key] = fresh
    model.load_state_dict(source)
    print(f"{taken} of {len(new)} tokens taken over")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--renders", type=int, default=14000, help="as in train.py")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    old = args.work / "start"
    data = prepare_captions(args.work, args.renders)
    model = Denoiser(data["vocabulary"], data["end"], data["start"])
    _take_text(model.text, old, CLIPTokenizer.from_pretrained(args.work / "tokenizer"))
    _take_unet(model.unet, old, args.work)
    run.save(args.work / "start.pt", model.state_dict())


if __name__ == "__main__":
    main()
