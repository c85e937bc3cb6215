"""Muon: momentum, then orthogonalise the step of each weight matrix (Jordan et al., 2024)."""

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Move the singular values of a stack [n, rows, columns] near 1 (Newton-Schulz)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon:
    """Steps for parameters of shape [n, rows, columns], each a stack of n matrices."""

    def __init__(self, parameters: Iterable[Tensor], momentum: float = 0.95) -> None:
        self.parameters = list(parameters)
        self.momentum = momentum
        self.buffers = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, rate: float, decay: float) -> None:
        """Apply one step with Nesterov momentum, and clear the gradients."""
        for parameter, buffer in zip(self.parameters, self.buffers, strict=True):
            gradient = parameter.grad
            if gradient is None:
                raise RuntimeError("a Muon parameter took no part in the loss")
            buffer.mul_(self.momentum).add_(gradient)
            update = orthogonalise(gradient.add(buffer, alpha=self.momentum))
            scale = max(1.0, parameter.shape[-2] / parameter.shape[-1]) ** 0.5
            parameter.mul_(1 - rate * decay).add_(update, alpha=-rate * scale)
            parameter.grad = None
