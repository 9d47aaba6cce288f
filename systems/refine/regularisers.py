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
from ..field.trilinear import in_chunks

_ZERO = np.float32(0)
_SOFT_STEP = np.float32(0.05)  # differences well below this count squared, well above it linearly


@njit(inline="always")
def _pairs(row, weights, other, its_weights, here, there, count, slopes, total):
    """``count`` soft absolute differences of two rows, from where each begins: derivatives by the first, and values."""
    for n in range(count):
        weight = min(weights[here + n], its_weights[there + n])
        difference = row[here + n] - other[there + n]
        size = np.sqrt(difference * difference + _SOFT_STEP * _SOFT_STEP)
        slope, value = weight * difference / size, weight * (size - _SOFT_STEP)
        slopes[n] = slope if weight > 0 else _ZERO
        total[n] += value if weight > 0 else _ZERO


@compiled(nogil=True, error_model="numpy")
def _variation(rows, weights, channels, grad, sums, start, stop):
    """Slabs of rows [R, R, R * C]: a row of cells at a time, so that the compiler makes vector operations of it.

    Each pair is measured once: what it does to the cell behind is kept until its turn. A slab measures the pairs with
    the one before it for itself, so that no cell is written by two threads.
    """
    side, length = rows.shape[0], rows.shape[2]
    across, behind = np.empty((side, length), np.float32), np.empty(length, np.float32)
    slopes, values, unused = (
        np.empty(length, np.float32),
        np.empty(length, np.float32),
        np.empty(length, np.float32),
    )
    within = length - channels
    if start > 0:
        for j in range(side):
            _pairs(
                rows[start - 1, j],
                weights[start - 1, j],
                rows[start, j],
                weights[start, j],
                0,
                0,
                length,
                across[j],
                unused,
            )
    else:
        across[:] = _ZERO
    for i in range(start, stop):
        total = 0.0
        behind[:] = _ZERO
        for j in range(side):
            row, its, out = rows[i, j], weights[i, j], grad[i, j]
            values[:] = _ZERO
            for n in range(length):
                out[n] = -across[j, n]
            if i < side - 1:
                _pairs(row, its, rows[i + 1, j], weights[i + 1, j], 0, 0, length, across[j], values)
                for n in range(length):
                    out[n] += across[j, n]
            for n in range(length):
                out[n] -= behind[n]
            if j < side - 1:
                _pairs(row, its, rows[i, j + 1], weights[i, j + 1], 0, 0, length, behind, values)
                for n in range(length):
                    out[n] += behind[n]
            _pairs(row, its, row, its, 0, channels, within, slopes, values)
            for n in range(within):
                out[channels + n] -= slopes[n]
            for n in range(within):
                out[n] += slopes[n]
            for n in range(length):
                total += values[n]
        sums[i] = total


class _TotalVariation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        cells, channels = values.detach().contiguous().numpy(), values.shape[3]
        importance = weights.detach()[..., None].expand(values.shape).contiguous().numpy()
        grad, side = np.empty_like(cells), len(cells)
        sums = np.empty(side)
        rows = [array.reshape(side, side, side * channels) for array in (cells, importance, grad)]
        in_chunks(lambda a, b: _variation(rows[0], rows[1], channels, rows[2], sums, a, b), side, 8)
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
