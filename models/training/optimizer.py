"""Muon for the matrices (linear and convolution weights), AdamW for everything else.

Muon's update is the momentum with all its singular values set to about one, by five Newton-Schulz iterations; it needs
markedly fewer samples than AdamW, which is what counts on two cores. Source: Keller Jordan, "Muon" (2024); the
coefficients are its quintic's; rate scaling 0.2 sqrt(max(rows, columns)) from Liu et al., arXiv:2502.16982.
"""

import torch
from torch import nn

MOMENTUM = 0.95


def orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """[N, rows, columns], each matrix for itself."""
    x = matrices.bfloat16()
    if transposed := x.shape[1] > x.shape[2]:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * (gram @ gram)) @ x
    return (x.mT if transposed else x).float()


class Muon:
    def __init__(self, model: nn.Module, matrix_rate: float, other_rate: float, edges: tuple[str, ...]):
        """`edges`: parts of the names of tables and of first and last layers, which AdamW trains too."""
        named = list(model.named_parameters())
        self.matrices = [p for n, p in named if p.ndim >= 2 and not any(e in n for e in edges)]
        chosen = {id(p) for p in self.matrices}
        others = [p for _, p in named if id(p) not in chosen]
        self.adam = torch.optim.AdamW(others, other_rate, betas=(0.9, 0.98), weight_decay=0.0, foreach=True)
        self.buffers = [torch.zeros_like(p) for p in self.matrices]
        self.peak, self.rate, self.other_peak = matrix_rate, matrix_rate, other_rate

    def scale(self, factor: float) -> None:
        """Sets both learning rates to `factor` times their peak."""
        self.rate = self.peak * factor
        for group in self.adam.param_groups:
            group["lr"] = self.other_peak * factor

    def zero_grad(self) -> None:
        self.adam.zero_grad()
        for p in self.matrices:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        self.adam.step()
        by_shape: dict[tuple, list[tuple]] = {}
        for p, buffer in zip(self.matrices, self.buffers):
            buffer.lerp_(p.grad, 1 - MOMENTUM)
            ahead = torch.lerp(p.grad, buffer, MOMENTUM).flatten(1)
            by_shape.setdefault(ahead.shape, []).append((p, ahead))
        for shape, pairs in by_shape.items():  # equal shapes together: far fewer small products
            for (p, _), update in zip(pairs, orthogonalize(torch.stack([ahead for _, ahead in pairs]))):
                p.mul_(1 - 0.05 * self.rate)
                p.sub_(update.view_as(p), alpha=self.rate * 0.2 * max(shape) ** 0.5)

    def state_dict(self) -> dict:
        return {"adam": self.adam.state_dict(), "buffers": self.buffers}

    def load_state_dict(self, state: dict) -> None:
        self.adam.load_state_dict(state["adam"])
        for buffer, stored in zip(self.buffers, state["buffers"]):
            buffer.copy_(stored)
