"""Writes goldens/tokenizer_{vocab.json,merges.txt,cases.json}: the ids of transformers' CLIPTokenizer.

    python tests/parity/make_tokenizer.py                    (needs transformers 5.23 and diffusers 0.42.1)
    python tests/parity/make_tokenizer.py --clip WHEEL OUT   the same cases on CLIP's whole vocabulary, into OUT

CLIP's vocabulary is too big to keep here, so the goldens use a small one trained below on a few lines. It is inside the
open_clip_torch wheel (MIT): `--clip` takes that file, and `FRAISE_CLIP_GOLDENS=OUT cargo test -- --ignored clip` then
compares with it.
"""

import collections
import gzip
import json
import pathlib
import random
import shutil
import sys
import tempfile
import unicodedata
import zipfile

import transformers
from diffusers.loaders import TextualInversionLoaderMixin
from transformers import CLIPTokenizer

CORPUS = """
a photo of a cat sitting on a red chair in the garden, highly detailed, soft light, sharp focus, 4k
a watercolor painting of a strawberry on the table, bright colors, white background, studio lighting
the portrait of an old man with a long white beard, oil on canvas, dramatic light, masterpiece
a small house in the mountains at night, stars in the sky, snow, beautiful landscape, digital art
a cute dog running on the beach at sunset, photograph, depth of field, best quality, realistic
an astronaut riding a horse on the moon, cinematic, concept art, trending, intricate, elegant
blurry, low quality, bad anatomy, extra fingers, worst quality, text, watermark, signature, ugly
it's the painter's house, they're here, we've seen it, i'm not there, don't, you'll see, she'd say
the quick brown fox jumps over the lazy dog; green apples, blue birds, yellow flowers and purple grapes
café déjà vu, naïve façade, über straße, señor, coração, smörgåsbord, 3d render, 1girl, 2024, 8k uhd
一只猫坐在红色的椅子上，花园里，阳光明媚，高清，细节丰富
一幅水彩画：桌子上的草莓，白色背景，明亮的颜色
山中的小房子，夜晚，天空中的星星，美丽的风景，数字艺术
海滩上奔跑的小狗，日落，照片，最好的质量，现实主义
一只小猫和一只小狗，草地上，蓝色的天空，白色的云
""".strip().splitlines()
MERGES = 500

TEXTS = [
    "", " ", "   \t\n  ", "a", "a photo of a cat", "A Photo OF A CAT!!", "  two   spaces\tand\ttabs\nand newlines  ",
    "it's the painter's house, they're here; we've DON'T I'M she'd you'll 'sam 'T", "'s't're've'm'll'd", "''s '' ' s !'s",
    "masterpiece, best quality, (ultra-detailed:1.3), [blurry], 8k, 1girl, 2024-11-23, 3.14159, v1_5 #art @me 50% $9",
    "一只猫坐在红色的椅子上，花园里，阳光明媚", "一幅水彩画：桌子上的草莓 with English 混合 text，４Ｋ", "草莓🍓和猫🐱", "日本語のテキスト、カタカナ ひらがな", "한국어 프롬프트",
    "🍓", "👩‍👩‍👧‍👦 family, flag 🇫🇷, skin 👍🏽, keycap 1️⃣, heart ❤️", "café", "cafe\u0301", "déjà vu Ünïcödé ÀÉÎ straße ẞ", "ﬁne ﬂow Ⅷ ² ½ ① ㎏",
    "ΑΣ ΣΑΣ ὈΔΥΣΣΕΎΣ", "İstanbul IĞDIR ı", "ǅ Ǆ ǆ", "Привет, мир! ЁЖ", "שלום עולם", "مرحبا بالعالم ١٢٣", "แมวน่ารักนั่งอยู่", "नमस्ते दुनिया १२३ हिन्दी", "தமிழ் உரை",
    "\u0000a\u0007b\u001bc\u007fd\u0085e", "zero\u200bwidth\u200djoin\ufeffbom\u00adsoft", "nbsp\u00a0thin\u2009ideographic\u3000line\u2028para\u2029ogham\u1680end\u180emongolian",
    "Ω Å K \u212b \u2126 \u212a", "\u1100\u1161\u11a8 \uac01", "q\u0307\u0323 q\u0323\u0307", "\U0001d400\U0001d41b \U0001f1e6 \U00020000\U0002a6d6",
    "\ue000 private \U0010ffff \ufffd \ufffe", "<|endoftext|>", "a<|startoftext|>b", "x <|ENDOFTEXT|> y", "<|ENDOFTEXT|>!! and !!<|endoftext|>", "<|endoftext|",
    "!", "hello !!! wow!", "a cat! by night", "a <cat-toy> and <CAT-TOY> on a PUPPET, puppets <cat-toy2>", "http://example.com/a?b=c&d=e", "snake_case camelCase kebab-case",
    "...", "……", "—–-", "“quoted” ‘single’ «guillemets»", "a" * 300, "ab" * 200, "strawberry" * 60, "一" * 150, "!" * 200, "1" * 120, "🍓" * 40,
    "a photo of a cat, " * 30, "word " * 22, "word " * 21 + "end", "e\u0301" * 50,
]

POOL = list("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789 .,;:!?'\"-_()[]{}<>|/\\@#%&*+=~^$`") + list(" \t\n\u00a0\u3000'''   ") + list(
    "éèüñçßøåÉÈÜÑÇŁłŒœžŽđ一只猫红色的草莓花园，。！？「」ひらカタ한글กาน้ำनमस्तेαβγΣΩДжЯשלום١٢٣½²Ⅷ\u0301\u0308\u0323\u200d\ufe0f🍓🐱👍🏽❤🇫🇷\u0000\u001f\u007f\u0085\u00ad"
)


def token(content, normalized, **more):
    return {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False} | more


# Embeddings of several vectors as `add_tokens` writes them, and the flags that a token may have.
VECTORS = [("<cat>", {}), ("<cat>_1", {}), ("<cat>_2", {}), ("DOG", {}), ("solo", {"single_word": True}), ("<pad>", {"lstrip": True, "rstrip": True}), ("<cat>_4", {})]
# diffusers writes vectors out by replacing text, which misses tokens with capitals and cuts `<cat>_4` apart beside a
# `<cat>`; Fraise goes by whole tokens, so such texts are not among these.
VECTOR_TEXTS = [
    "a <cat> on a chair", "<cat>", "<cat><cat>", "<cat> and solo", "a DOG, a dog", "x<cat>y", "<cat>_2 alone", "<cat>_4", "<cat>_3", "solo", "solos", "a solo, (solo) solo_ _solo asolo solo2 2solo solo-solo", "é solo é soloé ésolo",
    "猫solo", "SOLO Solo", "a <pad> b<pad>c  <pad>  ", "solo\u0301 solo\u200d solo\u203fsolo", "<cat", "cat>", "< cat >", "<<cat>>", "solo<cat> solo", "<cat>_", "<cat>_1_1", "a photo of <cat> " * 20,
]


def configs(size):
    """The forms that tokenizer_config.json takes in the wild; `size` is the vocabulary's."""
    bos, eos = "<|startoftext|>", "<|endoftext|>"
    added = {str(size - 2): token(bos, False, special=True), str(size - 1): token(eos, True, special=True)}
    added |= {str(size): token("<cat-toy>", False, special=False), str(size + 1): token("Puppet", True, special=False)}
    for form in added.values():
        del form["__type"]
    vectors = {str(size + index): token(content, True, special=False, **flags) for index, (content, flags) in enumerate(VECTORS)}
    for form in vectors.values():
        del form["__type"]
    return {
        "stable-diffusion-1": {"bos_token": token(bos, True), "eos_token": token(eos, True), "unk_token": token(eos, True), "pad_token": eos, "model_max_length": 77},
        "stable-diffusion-2": {"bos_token": token(bos, True), "eos_token": token(eos, True), "unk_token": token(eos, True), "pad_token": "!", "model_max_length": 24},
        "plain": {"model_max_length": 77},
        "textual-inversion": {"added_tokens_decoder": added, "pad_token": "!", "model_max_length": 24},
        "vectors": {"added_tokens_decoder": vectors, "model_max_length": 77},
    }


def byte_symbols():
    prints = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in prints]
    order = {byte: chr(byte) for byte in prints} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    return order


def train():
    """Byte-pair encoding of CORPUS: (vocabulary, merges)."""
    symbol = byte_symbols()
    words = collections.Counter()
    for line in CORPUS:
        for word in line.lower().replace(",", " , ").replace("'", " '").split():
            symbols = [symbol[byte] for byte in word.encode()]
            words[(*symbols[:-1], symbols[-1] + "</w>")] += 1
    merges = []
    while len(merges) < MERGES:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged = collections.Counter()
        for word, count in words.items():
            out = []
            for part in word:
                if out and (out[-1], part) == best:
                    out[-1] += part
                else:
                    out.append(part)
            merged[tuple(out)] += count
        words = merged
    return vocabulary(merges), merges


def vocabulary(merges):
    symbols = list(byte_symbols().values())
    tokens = symbols + [s + "</w>" for s in symbols] + ["".join(pair) for pair in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}


def clip(wheel):
    text = gzip.decompress(zipfile.ZipFile(wheel).read("open_clip/bpe_simple_vocab_16e6.txt.gz")).decode()
    merges = [tuple(line.split()) for line in text.split("\n")[1 : 49152 - 256 - 2 + 1]]
    return vocabulary(merges), merges


def write(vocab, merges, out, prefix, texts):
    files = {"vocab.json": json.dumps(vocab, ensure_ascii=False, separators=(",", ":"))}
    files["merges.txt"] = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges)
    groups = []
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (pathlib.Path(folder) / name).write_text(text)
            shutil.copy(pathlib.Path(folder) / name, out / (prefix + name))
        for name, config in configs(len(vocab)).items():
            (pathlib.Path(folder) / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "CLIPTokenizer"}))
            tokenizer = CLIPTokenizer.from_pretrained(folder)
            # The other configurations differ only in special tokens: the fixed texts show all of that.
            some = texts if name == "stable-diffusion-1" else VECTOR_TEXTS if name == "vectors" else TEXTS
            # What diffusers' pipelines tokenize: several vectors' tokens written out.
            expand = TextualInversionLoaderMixin().maybe_convert_prompt
            written_out = {text: expand(text, tokenizer) for text in some}
            ids = {text: tokenizer(out, add_special_tokens=False)["input_ids"] for text, out in written_out.items()}
            cases = [{"text": text, "ids": ids[text]} for text in some]
            for case in cases[: len(TEXTS)]:
                padded = tokenizer(written_out[case["text"]], padding="max_length", truncation=True)["input_ids"]
                case["kept"] = min(len(case["ids"]), tokenizer.model_max_length - 2)
                case["padding"] = len(padded) - case["kept"] - 2
                if case["kept"] < len(case["ids"]):
                    # As the pipelines' warning about truncation words it.
                    case["removed"] = tokenizer.decode(case["ids"][case["kept"] :])
                expected = [tokenizer.bos_token_id, *case["ids"][: case["kept"]], tokenizer.eos_token_id]
                assert padded == expected + [tokenizer.pad_token_id] * case["padding"], (name, case["text"])
            special = {key: getattr(tokenizer, f"{key}_token_id") for key in ("bos", "eos", "pad")}
            groups.append({"name": name, "config": config, "special": special, "cases": cases})
    golden = {"transformers": transformers.__version__, "groups": groups}
    (out / f"{prefix}cases.json").write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")


def main():
    dice = random.Random(20261123)
    fuzz = ["".join(dice.choices(POOL, k=dice.randint(1, 40))) for _ in range(150)]
    if sys.argv[1:2] == ["--clip"]:
        out = pathlib.Path(sys.argv[3])
        out.mkdir(parents=True, exist_ok=True)
        # Ten times the fuzz, and every character of Python's Unicode (14 with Python 3.11) in strings of 64. Left out are
        # newer ones, as tokenizers and Fraise take letters from different later versions, and accents newer than
        # Unicode 3.2, as tokenizers has an old table of the order in which accents on one letter stand.
        fuzz += ["".join(dice.choices(POOL, k=dice.randint(1, 60))) for _ in range(1500)]
        points = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cn", "Cs")]
        old = unicodedata.ucd_3_2_0
        points = [c for c in points if not unicodedata.combining(c) or old.category(c) != "Cn"]
        fuzz += ["".join(points[at : at + 64]) for at in range(0, len(points), 64)]
        write(*clip(sys.argv[2]), out, "tokenizer_", TEXTS + fuzz)
    else:
        write(*train(), pathlib.Path(__file__).parent / "goldens", "tokenizer_", TEXTS + fuzz)


if __name__ == "__main__":
    main()
