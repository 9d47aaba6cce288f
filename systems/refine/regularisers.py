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

_ZERO, _HALF = np.float32(0), np.float32(0.5)
_SOFT_STEP = np.float32(0.05)  # differences well below this count squared, well above it linearly


@njit(inline="always")
def _pairs(row, weights, other, its_weights, here, there, count, slopes, values):
    """``count`` soft absolute differences of two rows, from where each begins, and their derivatives by the first.

    Each is halved, as both of its cells count it.
    """
    for n in range(count):
        weight = min(weights[here + n], its_weights[there + n])
        difference = row[here + n] - other[there + n]
        size = np.sqrt(difference * difference + _SOFT_STEP * _SOFT_STEP)
        slope, value = weight * difference / size, weight * _HALF * (size - _SOFT_STEP)
        slopes[here + n] += slope if weight > 0 else _ZERO
        values[here + n] += value if weight > 0 else _ZERO


@compiled(nogil=True, error_model="numpy")
def _variation(rows, weights, channels, grad, sums, part, start, stop):
    """Every cell gathers from its six neighbours: no cell is written twice, so parts can run side by side.

    rows, weights, grad: [R, R, R * C]; a row of cells at a time, so that the compiler makes vector operations of it.
    """
    resolution, length = rows.shape[0], rows.shape[2]
    values, total = np.empty(length, np.float32), 0.0
    for i in range(start, stop):
        for j in range(resolution):
            row, its, slopes = rows[i, j], weights[i, j], grad[i, j]
            slopes[:], values[:] = _ZERO, _ZERO
            if i > 0:
                _pairs(row, its, rows[i - 1, j], weights[i - 1, j], 0, 0, length, slopes, values)
            if i < resolution - 1:
                _pairs(row, its, rows[i + 1, j], weights[i + 1, j], 0, 0, length, slopes, values)
            if j > 0:
                _pairs(row, its, rows[i, j - 1], weights[i, j - 1], 0, 0, length, slopes, values)
            if j < resolution - 1:
                _pairs(row, its, rows[i, j + 1], weights[i, j + 1], 0, 0, length, slopes, values)
            _pairs(row, its, row, its, channels, 0, length - channels, slopes, values)
            _pairs(row, its, row, its, 0, channels, length - channels, slopes, values)
            for n in range(length):
                total += values[n]
    sums[part] = total


class _TotalVariation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        cells, channels = values.detach().contiguous().numpy(), values.shape[3]
        importance = weights.detach()[..., None].expand(values.shape).contiguous().numpy()
        grad, sums, side = np.empty_like(cells), np.zeros(PARTS), len(cells)
        rows = [array.reshape(side, side, side * channels) for array in (cells, importance, grad)]
        in_parts(
            lambda part, a, b: _variation(rows[0], rows[1], channels, rows[2], sums, part, a, b),
            side,
            least=16,
        )
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
