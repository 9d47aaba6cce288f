"""``surface_colour`` on the CPU: numba kernels that find the surface near each cell, and bring its colours there.

They do what the tensor operations do, in the same order, without writing every step of it to memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..compiled import compiled
from ..field.trilinear import blend, gather, in_chunks, locate, share

_ONE, _TWO = np.float32(1), np.float32(2)
_LEAST_SLOPE = np.float32(1e-6)


@compiled(nogil=True, error_model="numpy")
def _slopes(raw, cell, reach, grid, near, start, stop):
    """Raw density and its central differences, grid [R, R, R, 4], and which cells may lie within reach of raw = 0."""
    last = len(raw) - 1
    for i in range(start, stop):
        before_i, after_i = max(i - 1, 0), min(i + 1, last)
        span_i = np.float32(after_i - before_i) * cell
        for j in range(last + 1):
            before_j, after_j = max(j - 1, 0), min(j + 1, last)
            span_j = np.float32(after_j - before_j) * cell
            for k in range(last + 1):
                grid[i, j, k, 0] = raw[i, j, k]
                grid[i, j, k, 1] = (raw[after_i, j, k] - raw[before_i, j, k]) / span_i
                grid[i, j, k, 2] = (raw[i, after_j, k] - raw[i, before_j, k]) / span_j
            for k in range(1, last):
                grid[i, j, k, 3] = (raw[i, j, k + 1] - raw[i, j, k - 1]) / (_TWO * cell)
            grid[i, j, 0, 3] = (raw[i, j, 1] - raw[i, j, 0]) / cell
            grid[i, j, last, 3] = (raw[i, j, last] - raw[i, j, last - 1]) / cell
            for k in range(last + 1):
                x, y, z = grid[i, j, k, 1], grid[i, j, k, 2], grid[i, j, k, 3]
                near[i, j, k] = abs(raw[i, j, k]) < reach * np.sqrt(x * x + y * y + z * z)


@compiled(nogil=True, error_model="numpy")
def _descend(grid, cells, cell, reach, steps, at_surface, feet, arrived, start, stop):
    """Newton's method from each cell's centre; feet [N, 3], and whether they lie on the surface and within reach."""
    count = len(grid)
    centre, foot, value = np.empty(3, np.float32), np.empty((1, 3), np.float32), np.empty((1, 4), np.float32)
    for n in range(start, stop):
        index = cells[n]
        for axis in range(3):
            place = (index // count ** (2 - axis)) % count
            centre[axis] = np.float32(place * 2 + 1) / np.float32(count) - _ONE
            foot[0, axis] = centre[axis]
        for _ in range(steps):
            gather(grid, foot, value, 0, 1)
            raw, x, y, z = value[0, 0], value[0, 1], value[0, 2], value[0, 3]
            length = max(np.sqrt(x * x + y * y + z * z), _LEAST_SLOPE)
            way = min(max(raw / length, -cell), cell)
            foot[0, 0] -= way * x / length
            foot[0, 1] -= way * y / length
            foot[0, 2] -= way * z / length
        gather(grid, foot, value, 0, 1)
        x, y, z = foot[0, 0] - centre[0], foot[0, 1] - centre[1], foot[0, 2] - centre[2]
        inside = abs(foot[0, 0]) <= _ONE and abs(foot[0, 1]) <= _ONE and abs(foot[0, 2]) <= _ONE
        arrived[n] = abs(value[0, 0]) < at_surface and np.sqrt(x * x + y * y + z * z) < reach and inside
        for axis in range(3):
            feet[n, axis] = foot[0, axis]


@compiled(nogil=True)
def _bring(colours, cells, feet, out, start, stop):
    """To each cell the colours at its foot; out [R^3, 3]."""
    count, flat = len(colours), colours.reshape(-1, 3)
    for n in range(start, stop):
        i, j, k, a, b = locate(feet[n], count)
        for c in range(3):
            out[cells[n], c] = blend(flat, count, i, j, k, a, b, c)


@compiled(nogil=True)
def _take_back(grad, cells, feet, upstream):
    """What the cells hear, upstream [R^3, 3], goes to the colours about their feet."""
    count, flat = len(grad), grad.reshape(-1, 3)
    for n in range(len(cells)):
        i, j, k, a, b = locate(feet[n], count)
        for c in range(3):
            share(flat, count, i, j, k, a, b, c, upstream[cells[n], c])


def surface_points_on_cpu(
    raw_density: torch.Tensor, *, reach: float, steps: int, at_surface: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """``surface_colour.surface_points``.

    Args:
        reach: from the surface, a length.
        steps: of Newton's method.
        at_surface: |raw| there.
    """
    raw = raw_density.detach().contiguous().numpy()
    cell, farthest = np.float32(2 / len(raw)), np.float32(reach)
    grid, near = np.empty((*raw.shape, 4), np.float32), np.empty(raw.shape, np.bool_)
    in_chunks(lambda a, b: _slopes(raw, cell, farthest, grid, near, a, b), len(raw), 8)
    cells = np.flatnonzero(near)
    feet, arrived = np.empty((len(cells), 3), np.float32), np.empty(len(cells), np.bool_)
    numbers = cell, farthest, steps, np.float32(at_surface)
    in_chunks(lambda a, b: _descend(grid, cells, *numbers, feet, arrived, a, b), len(cells), 2048)
    return torch.from_numpy(cells[arrived]), torch.from_numpy(feet[arrived])


class _Extend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw_colour: torch.Tensor, cells: torch.Tensor, feet: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cells, feet)
        colours = raw_colour.detach().contiguous().numpy()
        where, places = cells.numpy(), feet.numpy()
        out = colours.copy()
        flat = out.reshape(-1, 3)
        in_chunks(lambda a, b: _bring(colours, where, places, flat, a, b), len(where), 4096)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        cells, feet = ctx.saved_tensors
        signal = upstream[0].contiguous().numpy()
        grad = signal.copy()
        grad.reshape(-1, 3)[cells.numpy()] = 0
        _take_back(grad, cells.numpy(), feet.numpy(), signal.reshape(-1, 3))
        return torch.from_numpy(grad), None, None


def extend_on_cpu(raw_colour: torch.Tensor, cells: torch.Tensor, feet: torch.Tensor) -> torch.Tensor:
    """Colours [R, R, R, 3] of which those of the cells [N] are those at their feet [N, 3], differentiable once."""
    return _Extend.apply(raw_colour, cells, feet)  # type: ignore[no-any-return]
