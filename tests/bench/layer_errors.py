"""What rounding costs by kind of layer, as a Markdown table, from the reports of `fraise pack --report`.

    python layer_errors.py Q8.json Q4.json MIXED.json [--component unet]

Each report's column holds the mean and the greatest relative error of that kind's weights (root mean square of the
rounding over that of the weight), and for `mixed` the share of its numbers that are at 4 bits. Needs Python alone.
"""

import argparse
import json
import re
from pathlib import Path

KINDS = (
    ("self-attention q, k", r"attn1\.to_[qk]|attentions\.\d+\.to_[qk]|self_attn\.[qk]_proj"),
    ("self-attention v, out", r"attn1\.to_(v|out)|attentions\.\d+\.to_(v|out)|self_attn\.(v|out)_proj"),
    ("cross-attention q, k", r"attn2\.to_[qk]"),
    ("cross-attention v, out", r"attn2\.to_(v|out)"),
    ("attention proj_in, proj_out", r"proj_(in|out)\."),
    ("feed-forward", r"\.ff\.|\.mlp\."),
    ("convolution 3x3", r"resnets.*conv\d|layers.*conv|decoder\.layers|encoder\.layers"),
    ("down- and upsampling convolution", r"samplers"),
    ("shortcut convolution 1x1", r"conv_shortcut"),
    ("time and added embeddings", r"time_emb|add_embedding|time_embedding"),
    ("first and last convolution", r"conv_(in|out)|quant_conv"),
    ("token and position embeddings", r"embeddings"),
    ("norms and biases", r""),
)


def kind(tensor):
    if len(tensor["shape"]) < 2:
        return KINDS[-1][0]
    return next(name for name, pattern in KINDS if re.search(pattern, tensor["tensor"]))


def cell(tensors):
    errors = [tensor["relative_error"] for tensor in tensors]
    text = f"{sum(errors) / len(errors):.4f} ({max(errors):.4f})"
    elements = sum(tensor["elements"] for tensor in tensors)
    at_q4 = sum(tensor["elements"] for tensor in tensors if tensor["scheme"] == "q4")
    return text, f"{at_q4 / elements:.0%}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("reports", nargs="+", type=Path)
    arguments.add_argument("--component", default="unet")
    options = arguments.parse_args()
    reports = [json.loads(path.read_text("utf-8")) for path in options.reports]
    heads = [f"{report['quant']} | at q4" if report["quant"] == "mixed" else report["quant"] for report in reports]
    print(f"| {options.component}: kind of layer | weights | numbers | {' | '.join(heads)} |")
    print("|---" * (3 + sum(head.count("|") + 1 for head in heads)) + "|")
    for name, _ in KINDS:
        tensors_of = [[t for t in report["tensors"] if t["component"] == options.component] for report in reports]
        of_kind = [[tensor for tensor in tensors if kind(tensor) == name] for tensors in tensors_of]
        if not of_kind[0]:
            continue
        cells = []
        for report, tensors in zip(reports, of_kind):
            text, share = cell(tensors)
            cells += [text, share] if report["quant"] == "mixed" else [text]
        numbers = sum(tensor["elements"] for tensor in of_kind[0]) / 1e6
        print(f"| {name} | {len(of_kind[0])} | {numbers:.1f} M | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
