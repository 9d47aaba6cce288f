"""What a field should look like whatever its colours are: close to where it began, smooth, and either solid or empty.

Sums over cells are divided by ``matter``, the number of solid cells of the initial field, so that weights mean the
same at any resolution and for thin and bulky objects.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit

from ..compiled import compiled
from ..field.trilinear import PARTS, in_parts

_SOFT_STEP = np.float32(0.05)  # differences well below this count squared, well above it linearly


@njit(inline="always")
def _pair(one, two, weight):
    """Value of one soft absolute difference, halved as both cells count it, and its derivative by ``one``."""
    difference = one - two
    size = np.sqrt(difference * difference + _SOFT_STEP * _SOFT_STEP)
    return weight * np.float32(0.5) * (size - _SOFT_STEP), weight * difference / size


@compiled(nogil=True)
def _variation(values, weights, grad, sums, part, start, stop):
    """Every cell gathers from its six neighbours: no cell is written twice, so parts can run side by side."""
    resolution, channels = values.shape[0], values.shape[3]
    total = 0.0
    for i in range(start, stop):
        for j in range(resolution):
            for k in range(resolution):
                here = weights[i, j, k]
                for c in range(channels):
                    slope = np.float32(0)
                    for axis in range(3):
                        for way in (-1, 1):
                            a = i + way if axis == 0 else i
                            b = j + way if axis == 1 else j
                            d = k + way if axis == 2 else k
                            at = a if axis == 0 else (b if axis == 1 else d)
                            if at < 0 or at >= resolution:
                                continue
                            weight = min(here, weights[a, b, d])
                            if weight > 0:
                                value, rise = _pair(values[i, j, k, c], values[a, b, d, c], weight)
                                total += value
                                slope += rise
                    grad[i, j, k, c] = slope
    sums[part] = total


class _TotalVariation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        cells, importance = values.detach().contiguous().numpy(), weights.detach().contiguous().numpy()
        grad, sums = np.empty_like(cells), np.zeros(PARTS)
        in_parts(lambda part, a, b: _variation(cells, importance, grad, sums, part, a, b), len(cells))
        ctx.save_for_backward(torch.from_numpy(grad))
        return torch.tensor(sums.sum(), dtype=values.dtype)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.saved_tensors[0] * upstream[0], None


def total_variation(values: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Sum over neighbouring cells of sqrt(d^2 + 0.05^2) - 0.05: the area of steps, which leaves sharp ones sharp.

    Args:
        values: [R, R, R, C], float32.
        weights: [R, R, R] >= 0; a pair counts with the smaller of its two weights. None counts every pair fully.
    """
    if weights is None:
        weights = torch.ones(values.shape[:3], device=values.device)
    if values.device.type != "cpu":
        return total_variation_by_torch(values, weights)
    return _TotalVariation.apply(values, weights)  # type: ignore[no-any-return]


def total_variation_by_torch(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """``total_variation`` for devices that numba does not reach, and to test the kernel by."""
    total = values.new_zeros(())
    for axis in range(3):
        count = values.shape[axis] - 1
        pairs = [values.narrow(axis, first, count) for first in (0, 1)]
        weight = torch.minimum(*(weights.narrow(axis, first, count) for first in (0, 1)))
        size = ((pairs[1] - pairs[0]).square() + float(_SOFT_STEP) ** 2).sqrt()
        total = total + (weight[..., None] * (size - float(_SOFT_STEP))).sum()
    return total


def drift(raw: torch.Tensor, initial: torch.Tensor, matter: float) -> torch.Tensor:
    """Squared change of raw density since the start, per solid cell: keeps distillation from dissolving the shape.

    Of raw density, not of occupancy: deep inside, where occupancy is flat, nothing else holds a cell against the small
    but steady pushes that Adam turns into full steps.
    """
    return (raw - initial).square().sum() / matter


def indecision(occupancy: torch.Tensor, matter: float) -> torch.Tensor:
    """Sum of p (1 - p) per solid cell: 0 when every cell is either solid or empty."""
    return (occupancy * (1 - occupancy)).sum() / matter
