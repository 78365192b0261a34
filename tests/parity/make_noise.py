"""Writes goldens/noise_torch.safetensors: what torch.Generator("cpu") draws for given seeds and sizes.

    python tests/parity/make_noise.py        (needs torch 2.15, safetensors)

Each tensor `CASE.N` is the N-th torch.randn call on one generator. Draws above 1024 numbers keep their first and last
256 (`CASE.N.head`, `CASE.N.tail`) and, over all of them, `CASE.N.sums`: float64 sum, sum of squares, and sum of
values weighted by their index / length, which catches two numbers that changed places.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file

# name -> (seed, shapes drawn one after the other from the same generator)
CASES = {}
for seed in (0, 42, 2**32 - 1):
    for shape in ((4, 8, 8), (4, 16, 16), (4, 32, 32), (4, 64, 64), (16, 8, 8)):
        CASES[f"seed{seed}_{'x'.join(map(str, shape))}"] = (seed, [(1, *shape)])
CASES |= {
    "seed_above_32_bits": (2**32 + 7, [(100,)]),
    "largest_seed": (2**64 - 1, [(100,)]),
    "two_latents": (42, [(1, 4, 16, 16), (1, 4, 16, 16)]),
    "odd_5_5": (42, [(5,), (5,)]),
    "odd_17_100_15_16_1": (0, [(17,), (100,), (15,), (16,), (1,)]),
    "cached_normal_outlives_a_long_draw": (42, [(5,), (64,), (3,), (31,), (2,)]),
    "longer_than_the_generator_state": (1, [(700,), (9,), (1000,)]),
}


def main():
    tensors, cases = {}, []
    for name, (seed, shapes) in CASES.items():
        generator = torch.Generator("cpu").manual_seed(seed)
        lengths = []
        for index, shape in enumerate(shapes):
            values = torch.randn(shape, generator=generator).flatten()
            key = f"{name}.{index}"
            lengths.append(values.numel())
            if values.numel() <= 1024:
                tensors[key] = values
                continue
            exact = values.double()
            weights = torch.arange(values.numel(), dtype=torch.float64) / values.numel()
            tensors[f"{key}.head"] = values[:256].clone()
            tensors[f"{key}.tail"] = values[-256:].clone()
            tensors[f"{key}.sums"] = torch.stack([exact.sum(), (exact**2).sum(), (exact * weights).sum()])
        cases.append({"name": name, "seed": str(seed), "lengths": lengths})
    out = pathlib.Path(__file__).parent / "goldens" / "noise_torch.safetensors"
    # One key only: the order of several is not the same on every run.
    metadata = {"golden": json.dumps({"cases": cases, "torch": torch.__version__})}
    save_file(tensors, out, metadata=metadata)
    print(out.name, out.stat().st_size, "bytes,", len(cases), "cases")


if __name__ == "__main__":
    main()
