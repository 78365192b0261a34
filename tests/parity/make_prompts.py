"""AUTOMATIC1111's prompt syntax in plain Python, and goldens/prompt_cases.json made with it.

    python tests/parity/make_prompts.py                    (needs transformers 5.23)

Written from the documented behaviour (stable-diffusion-webui's wiki, "Features": attention, infinite prompt length,
BREAK) and on purpose in another way than crate/engine/src/prompt.rs: here each character collects the brackets around
it, and chunks are slices of the whole token list. `make_text.py` uses it for goldens of the text encoders' output.
"""

import itertools
import json
import pathlib
import random
import re
import shutil
import tempfile

from transformers import CLIPTokenizer

COMMA_BACKTRACK = 20
MAX_CHUNKS = 32
BREAK = "BREAK"

GOLDENS = pathlib.Path(__file__).parent / "goldens"


def parse(prompt):
    """[[text, weight], …] with "BREAK" between what stands in different chunks."""
    spans = []  # (first character, behind the last, factor), in the order in which they close
    open_brackets = {"(": [], "[": []}
    kept = {}  # index of a character in the prompt: the text it gives
    breaks = set()
    at = 0
    while at < len(prompt):
        character = prompt[at]
        weighted = re.match(r":\s*([+-]?[0-9.]+)\s*\)", prompt[at:])
        if character == "\\":
            if prompt[at + 1 : at + 2] in ("(", ")", "[", "]", "\\"):
                kept[at] = prompt[at + 1]
                at += 1
        elif character in "([":
            open_brackets[character].append(at)
        elif weighted and is_number(weighted[1]) and open_brackets["("]:
            spans.append((open_brackets["("].pop(), at, float(weighted[1])))
            at += weighted.end() - 1
        elif character == ")" and open_brackets["("]:
            spans.append((open_brackets["("].pop(), at, 1.1))
        elif character == "]" and open_brackets["["]:
            spans.append((open_brackets["["].pop(), at, 1 / 1.1))
        elif character in "()[]:":
            kept[at] = character
        else:
            run = re.match(r"[^\\()\[\]:]+", prompt[at:])[0]
            kept |= {at + index: letter for index, letter in enumerate(run)}
            for found in re.finditer(r"\s*\bBREAK\b\s*", run):
                for index in range(found.start(), found.end()):
                    del kept[at + index]
                breaks.add(at + found.start())
            at += len(run) - 1
        at += 1
    spans += [(start, len(prompt), 1.1) for start in open_brackets["("]]
    spans += [(start, len(prompt), 1 / 1.1) for start in open_brackets["["]]
    return joined(kept, breaks, spans)


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def joined(kept, breaks, spans):
    segments = []
    for index in sorted([*kept, *breaks]):
        if index in breaks:
            segments.append(BREAK)
            continue
        weight = 1.0
        for start, end, factor in spans:
            if start <= index < end:
                weight *= factor
        if segments and segments[-1] != BREAK and segments[-1][1] == weight:
            segments[-1][0] += kept[index]
        else:
            segments.append([kept[index], weight])
    return segments


def chunks(tokenizer, prompt, capacity):
    """[(ids, weights), …] without start, end and padding."""
    comma = tokenizer.get_vocab().get(",</w>")
    parts = [[]]
    for segment in parse(prompt):
        if segment == BREAK:
            parts.append([])
        else:
            ids = tokenizer(segment[0], add_special_tokens=False)["input_ids"]
            parts[-1] += [(token, segment[1]) for token in ids]
    if len(parts) > 1 and not parts[-1]:
        parts.pop()
    result = []
    for part in parts:
        while len(part) > capacity:
            end = capacity
            commas = [index for index in range(capacity) if part[index][0] == comma]
            if part[capacity][0] != comma and commas and capacity - commas[-1] <= COMMA_BACKTRACK:
                end = commas[-1] + 1
            result.append(part[:end])
            part = part[end:]
        result.append(part)
    return [([token for token, _ in chunk], [weight for _, weight in chunk]) for chunk in result]


# ---------------------------------------------------------------- goldens

PROMPTS = [
    "", " ", "a cat", "(cat)", "((cat))", "[cat]", "[[cat]]", "(cat:1.3)", "(cat: 1.3 )", "(cat:.5)", "(cat:2.)", "(cat:-0.5)", "(cat:+1.5)",
    "(cat:1.2.3)", "(cat:.)", "(cat:1e3)", "(cat:)", "(cat:x)", "cat:1.3)", "[cat:1.3)", "(a:b:1.2)", "a (red:1.2) and [green] strawberry", "((a) b:1.5)",
    r"a \(cat\)", r"a \[cat\] \\ (dog\))", r"\cat\ \: \x", "\\", "(a\\", "unclosed (cat", "unclosed [cat (dog", "(a (b [c", "a) b] c", "(a [b) c]", "()", "[]", "(())", "([])", "(a)(b)", "(a) (b)", "a(b)c",
    "a BREAK b", "BREAK", "BREAK a", "a BREAK", "a BREAK BREAK b", "aBREAK b", "a BREAK, b", "a_BREAK b", "猫BREAK b", "a\nBREAK\nb", "(a BREAK b:1.2) c", "(BREAK)", "break Break", "x:BREAK:y",
    "[from:to:0.5]", "[cat|dog]", "a AND b", "<lora:name:0.8> cat", "(masterpiece:1.2), (best quality), 8k, [blurry]", "(a:1.1)(b:1.1)", "( spaced : 1.4 )", "(草莓:1.3)，[夜晚]", ":", "::)", "(:1.3)", "(:)", ":)", "(((((((a)))))))",
]

LONG = [
    "a photo of a cat, " * 30, "word " * 22, "word " * 23, "word " * 75, "word " * 76, "a cat, " + "word " * 75, ("word " * 60) + ", " + "word " * 20, ("word " * 54) + ", " + "word " * 30, ("word " * 55) + ", " + "word " * 30,
    ("word " * 75) + ", cat", ("word " * 74) + ", cat", "(" + "a cat, " * 20 + ":1.2) " + "[a dog, " * 20, "cat BREAK " * 3 + "dog", "a, BREAK" + " b" * 80 + " BREAK (c:1.5)", "," * 200, "cat " * 2500, "BREAK " * 40 + "end",
]

POOL = list("abc ,()[]:\\") + ["BREAK", " BREAK ", ":1.3)", ":0.5)", ":.)", "cat ", "((", "))", "草莓", "1.2"]


def main():
    dice = random.Random(20261124)
    fuzz = ["".join(dice.choices(POOL, k=dice.randint(1, 24))) for _ in range(200)]
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(GOLDENS / f"tokenizer_{name}", pathlib.Path(folder) / name)
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        for prompt in PROMPTS + LONG + fuzz:
            # Weights as texts: not every reader of JSON numbers gets the last bit right.
            segments = [part if part == BREAK else [part[0], repr(part[1])] for part in parse(prompt)]
            case = {"prompt": prompt, "segments": segments if len(prompt) < 500 else None, "chunks": {}}
            for capacity in (75, 22) if prompt in LONG else (75,):
                all_of_them = chunks(tokenizer, prompt, capacity)
                case["chunks"][str(capacity)] = {
                    "ids": [runs(ids) for ids, _ in all_of_them[:MAX_CHUNKS]],
                    "weights": [runs(weights) for _, weights in all_of_them[:MAX_CHUNKS]],
                    "beyond": sum(len(ids) for ids, _ in all_of_them[MAX_CHUNKS:]),
                }
            cases.append(case)
    (GOLDENS / "prompt_cases.json").write_text(json.dumps({"cases": cases}, separators=(",", ":")) + "\n")
    print(f"{len(cases)} prompts")


def brief(value, times):
    return f"{value}*{times}" if times > 1 else f"{value}"


def runs(values):
    """Values with a space between, `value*times` where one repeats: the file stays short."""
    return " ".join(brief(value, len(list(same))) for value, same in itertools.groupby(values))


if __name__ == "__main__":
    main()
