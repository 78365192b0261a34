"""The tokenizer: CLIP's byte-level BPE, with a small vocabulary learned from the painter's own captions.

It is learned from words, not from running text, so no token crosses a word's end: "草莓" is one token wherever it stands
in an unbroken run of Chinese. The characters of the captions are merged from their bytes first; then the most frequent
pair is merged until every word is one token (or the vocabulary is full).
"""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

from transformers import CLIPTokenizer

MAX_LENGTH = 48
MAX_TOKENS = 8192
START, END, LAST = "<|startoftext|>", "<|endoftext|>", "</w>"


def byte_alphabet() -> dict[int, str]:
    """GPT-2's and CLIP's printable stand-in for each byte, in CLIP's order."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}


_BYTE = byte_alphabet()


def _symbols(text: str, is_last: bool) -> tuple[str, ...]:
    symbols = [_BYTE[b] for b in text.encode()]
    return (*symbols[:-1], symbols[-1] + LAST) if is_last else tuple(symbols)


def _units(captions: list[list[str]]) -> Counter:
    """How often each word occurs, apart by whether CLIP's pre-tokenizer ends a run of letters after it."""
    units = Counter()
    for words in captions:
        chinese = any(ord(c) > 0x2E80 for word in words for c in word)
        for word, following in zip(words, [*words[1:], ""]):
            inside = chinese and re.match(r"\w", following) and re.match(r"\w", word)
            for part in re.findall(r"\w+|[^\w\s]+", word.lower()):
                units[_symbols(part, not inside)] += 1
    return units


def _merge(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out, i = [], 0
    while i < len(symbols):
        if symbols[i : i + 2] == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return tuple(out)


def learn(captions: list[list[str]]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(vocabulary, merges) from captions given as lists of words."""
    units, merges = _units(captions), []
    characters = sorted({c for words in captions for word in words for c in word if ord(c) > 0x7F})
    for character in characters:
        for is_last in (False, True):
            symbols = _symbols(character, is_last)
            while len(symbols) > 1:
                if symbols[:2] not in merges:
                    merges.append(symbols[:2])
                symbols = _merge(symbols, symbols[:2])
    for pair in merges:
        units = _recount(units, pair)
    while len(merges) < MAX_TOKENS - 2 * 256 - 2:
        pairs = Counter()
        for symbols, count in units.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        units = _recount(units, best)
    tokens = [*_BYTE.values(), *(c + LAST for c in _BYTE.values()), *(a + b for a, b in merges), START, END]
    tokens = list(dict.fromkeys(tokens))
    return {token: i for i, token in enumerate(tokens)}, merges


def _recount(units: Counter, pair: tuple[str, str]) -> Counter:
    out = Counter()
    for symbols, count in units.items():
        out[_merge(symbols, pair)] += count
    return out


def save(folder: Path, captions: list[list[str]]) -> CLIPTokenizer:
    """Writes vocab.json, merges.txt and both configs, and returns the tokenizer as transformers loads it."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = learn(captions)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    config = special | {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": MAX_LENGTH, "do_lower_case": True,
        "add_prefix_space": False, "errors": "replace",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    return load(folder)


@cache
def load(folder: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(folder)


def encode(tokenizer: CLIPTokenizer, texts: list[str]):
    """Token ids [N, MAX_LENGTH], padded with <|endoftext|> and truncated, as diffusers' pipelines do it."""
    return tokenizer(texts, padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt").input_ids
