"""AdamW whose two moments are kept in 8 bits each: 2 bytes a parameter instead of 8 (arxiv.org/abs/2110.02861).

Moments are scaled by the largest of each block of 256 and stored as powers, which keeps small ones apart as the paper's
dynamic tree does: m / max = (k / 127)^3 signed, v / max = (k / 255)^4. A v above zero never becomes zero: m / sqrt(v)
would explode. In plain torch, so that it is the same on CPUs and GPUs and needs no further library; parameters are
moved one after the other, so that only one of them has its moments in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_BLOCK = 256
BYTES = 2 + 2 * 4 / _BLOCK
"""Of a parameter's moments."""


class AdamW8bit(torch.optim.Optimizer):
    """``torch.optim.AdamW`` on float32 parameters, to within the rounding of its moments."""

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            (beta1, beta2), rate = group["betas"], group["lr"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state, size = self.state[weight], weight.numel()
                if "step" not in state:
                    state["step"] = torch.tensor(0.0)
                    m, v = torch.zeros_like(weight).ravel(), torch.zeros_like(weight).ravel()
                else:
                    m = _signed(state["m"], state["m_max"], size)
                    v = _positive(state["v"], state["v_max"], size)
                gradient = weight.grad.reshape(-1)
                m.lerp_(gradient, 1 - beta1)
                v.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
                state["step"] += 1
                count = float(state["step"])
                spread = (v / (1 - beta2**count)).sqrt_().add_(group["eps"])
                weight.mul_(1 - rate * group["weight_decay"])
                weight.add_((m / spread).view_as(weight), alpha=-rate / (1 - beta1**count))
                state["m"], state["m_max"] = _stored(
                    m, lambda x: x.sign() * (x.abs().pow_(1 / 3) * 127).round_()
                )
                state["v"], state["v_max"] = _stored(v, _codes_of_positive, torch.uint8)


def _codes_of_positive(x: Tensor) -> Tensor:
    return torch.where(x > 0, (x.pow(1 / 4) * 255).round_().clamp_(min=1), x)


def _stored(values: Tensor, codes: Any, dtype: torch.dtype = torch.int8) -> tuple[Tensor, Tensor]:
    """(codes [N], the largest of each block) of moments [N]."""
    size = values.numel()
    blocks = torch.nn.functional.pad(values, (0, -size % _BLOCK)).view(-1, _BLOCK)
    largest = blocks.abs().amax(1, keepdim=True)
    return codes(blocks / largest.clamp(min=1e-38)).to(dtype).view(-1)[:size].clone(), largest.squeeze(1)


def _signed(codes: Tensor, largest: Tensor, size: int) -> Tensor:
    return _scaled(codes.float().div_(127).pow_(3), largest, size)


def _positive(codes: Tensor, largest: Tensor, size: int) -> Tensor:
    return _scaled(codes.float().div_(255).pow_(4), largest, size)


def _scaled(values: Tensor, largest: Tensor, size: int) -> Tensor:
    return values.mul_(largest.repeat_interleave(_BLOCK)[:size])
