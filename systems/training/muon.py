"""Muon: momentum whose matrix is made orthogonal before it moves a weight, so that no direction is left behind.

Keller Jordan, kellerjordan.github.io/posts/muon; at Moonlight's learning rate (arxiv.org/abs/2502.16982), with which
an update is as large as AdamW's. It is ``torch.optim.Muon`` but for one thing: that one always orthogonalises in
bfloat16, which CPUs without the instructions emulate, twelve to eighteen times slower than float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS, _EPS = 5, 1e-7


class Muon(torch.optim.Optimizer):
    """Moves matrices [out, in], float32.

    Args: dtype: what the orthogonalisation computes in.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        dtype: torch.dtype,
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every parameter that has a gradient, with Nesterov's momentum and decoupled weight decay."""
        for group in self.param_groups:
            rate, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                buffer = state["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
                update = orthogonal(weight.grad.lerp(buffer, momentum), self.dtype)
                weight.mul_(1 - rate * decay)
                weight.add_(update, alpha=-rate * 0.2 * math.sqrt(max(weight.shape)))


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """About U V' of a matrix U S V', by Newton-Schulz iterations in a dtype: singular values between 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    turned = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if turned else matrix).to(dtype)
    x = x / x.norm().clamp(min=_EPS)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if turned else x
