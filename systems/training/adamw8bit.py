"""AdamW whose two moments are kept in 8 bits each: 2 bytes a parameter instead of 8 (arxiv.org/abs/2110.02861).

Moments are scaled by the largest of each block of 256 and stored as powers, which keeps small ones apart as the paper's
dynamic tree does: m / max = (k / 127)^3 signed, v / max = (k / 255)^4. Rounding is random, up or down by how near: v
moves by a thousandth of itself a step, which rounding to the nearest would never let through. A v above zero never
becomes zero: m / sqrt(v) would explode. In plain torch, so that it is the same on CPUs and GPUs and needs no further
library; parameters are moved one after the other, so that only one of them has its moments in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_BLOCK = 256
_SIGNED, _POSITIVE = (127, 3), (255, 4)  # levels, power
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
                state, gradient = self.state[weight], weight.grad.reshape(-1)
                if "step" not in state:
                    state["step"] = torch.tensor(0.0)
                    m, v = torch.zeros_like(gradient), torch.zeros_like(gradient)
                else:
                    m = _read(state["m"], state["m_max"], *_SIGNED)
                    v = _read(state["v"], state["v_max"], *_POSITIVE)
                m.lerp_(gradient, 1 - beta1)
                v.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
                state["step"] += 1
                count = int(state["step"])
                spread = (v / (1 - beta2**count)).sqrt_().add_(group["eps"])
                weight.mul_(1 - rate * group["weight_decay"])
                weight.add_((m / spread).view_as(weight), alpha=-rate / (1 - beta1**count))
                dice = torch.Generator(weight.device).manual_seed(count)  # a resumed training throws the same
                state["m"], state["m_max"] = _stored(m, torch.int8, *_SIGNED, dice)
                codes, state["v_max"] = _stored(v, torch.uint8, *_POSITIVE, dice)
                state["v"] = torch.where(v > 0, codes.clamp(min=1), codes)


def _stored(
    values: Tensor, dtype: torch.dtype, levels: int, power: int, dice: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(codes [N], the largest of each block) of moments [N]."""
    size = values.numel()
    blocks = torch.nn.functional.pad(values, (0, -size % _BLOCK)).view(-1, _BLOCK)
    largest = blocks.abs().amax(1, keepdim=True)
    exact = blocks.abs().div_(largest.clamp(min=1e-38)).pow_(1 / power).mul_(levels)
    thrown = torch.rand(exact.shape, generator=dice, device=exact.device)
    codes = exact.add_(thrown).floor_().clamp_(max=levels).mul_(blocks.sign())
    return codes.to(dtype).view(-1)[:size].clone(), largest.squeeze(1)


def _read(codes: Tensor, largest: Tensor, levels: int, power: int) -> Tensor:
    """Moments [N], float32."""
    share = codes.float().div_(levels)
    return share.abs().pow_(power).mul_(share.sign()).mul_(largest.repeat_interleave(_BLOCK)[: len(codes)])
