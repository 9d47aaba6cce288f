"""What ControlNets add inside a UNet (arxiv.org/abs/2302.05543), row by row of a forward that conditions share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .conditioning import Conditioning
from .shapes import Latents, Text, Timesteps


def home_of(network: Any) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of a network; diffusers' own properties visit every module, a tenth of a small step."""
    first = next(network.parameters())
    return first.device, first.dtype


def residuals(
    x: Latents, t: Timesteps, text: Text | None, told: list[Conditioning], added: dict[str, Any] | None
) -> dict[str, Any]:
    """What the ControlNets add inside the UNet: their residuals on their own rows, zeros on all others."""
    batch = len(x) // len(told)
    down: list[Tensor] = []
    middle: Tensor | None = None
    for network in dict.fromkeys(control.network for one in told for control in one.controls):
        chosen = [(i, c) for i, one in enumerate(told) for c in one.controls if c.network is network]
        rows = torch.cat([torch.arange(i * batch, (i + 1) * batch) for i, _ in chosen]).to(x.device)
        device, dtype = home_of(network)
        pictures = torch.cat([c.picture.to(device).expand(batch, -1, -1, -1) for _, c in chosen])
        said = network(
            x[rows].to(dtype),
            t[rows],
            # A null-text UNet gives its ControlNet nothing to read; ControlNets themselves always read text.
            encoder_hidden_states=None if text is None else text[rows].to(dtype),
            controlnet_cond=pictures.to(dtype),
            added_cond_kwargs=None if added is None else {key: value[rows] for key, value in added.items()},
            return_dict=False,
        )
        scale = torch.cat([torch.as_tensor(c.scale).to(x).expand(batch) for _, c in chosen])[
            :, None, None, None
        ]
        parts = [*said[0], said[1]]
        sums = [*down, middle] if middle is not None else [None] * len(parts)
        grown = [
            _scattered(s, part.to(x.dtype) * scale, rows, len(x)) for s, part in zip(sums, parts, strict=True)
        ]
        down, middle = grown[:-1], grown[-1]
    return {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": middle}


def _scattered(total: Tensor | None, part: Tensor, rows: Tensor, count: int) -> Tensor:
    """``part`` added to the given rows of ``total`` [count, ...], zeros to begin with."""
    if total is None:
        total = part.new_zeros(count, *part.shape[1:])
    return total.index_add(0, rows, part)
