"""The encoding of ``hash_grid`` on the CPU: numba kernels, forward and backward.

Forward, parts of the points are looked up side by side. Backward, each part owns every second level: no row of the
table is written by two threads, and what it gets comes in the order of the points, so the same inputs give the same
bits however many threads run. The kernels are compiled once for each number of features: a literal count unrolls the
innermost loops.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit

from ...configs.errors import SlipcastError
from ..compiled import compiled
from .hash_levels import PRIMES, Level
from .trilinear import PARTS, in_parts

_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1), np.float32(0)
_Y, _Z = np.int64(PRIMES[1]), np.int64(PRIMES[2])
# Sums may be reordered at compile time, but NaN and infinity keep their meaning.
_REORDER = {"contract", "reassoc", "nsz"}
_BLOCK = 1024  # points whose features stay in the cache while level after level is added


class _Kernels(NamedTuple):
    """``gather`` and ``slopes`` (derivatives by the points) do a range of points, ``scatter`` a share of the levels."""

    gather: Any
    scatter: Any
    slopes: Any


@njit(inline="always")
def _locate(point, scale, resolution):
    """Lower corner and place in the cell. Integers are clamped last, so that a NaN stays inside the grid."""
    x = point[0] * scale + _HALF
    y = point[1] * scale + _HALF
    z = point[2] * scale + _HALF
    i = max(0, min(int(x), resolution - 1))
    j = max(0, min(int(y), resolution - 1))
    k = max(0, min(int(z), resolution - 1))
    return i, j, k, x - np.float32(i), y - np.float32(j), z - np.float32(k)


@njit(inline="always")
def _rows(i, j, k, level):
    """The eight corners' rows of the table, z quickest: ``hash_levels.rows_of``, eight at a time."""
    resolution, offset, size, dense = level[0], level[1], level[2], level[3]
    if dense:
        y, z = resolution, resolution * resolution
        a = i + j * y + k * z
        rows = (a, a + z, a + y, a + y + z, a + 1, a + 1 + z, a + 1 + y, a + 1 + y + z)
        # The outermost corners lie up to a layer beyond the table, which is less than its size.
        return (
            offset + (rows[0] if rows[0] < size else rows[0] - size),
            offset + (rows[1] if rows[1] < size else rows[1] - size),
            offset + (rows[2] if rows[2] < size else rows[2] - size),
            offset + (rows[3] if rows[3] < size else rows[3] - size),
            offset + (rows[4] if rows[4] < size else rows[4] - size),
            offset + (rows[5] if rows[5] < size else rows[5] - size),
            offset + (rows[6] if rows[6] < size else rows[6] - size),
            offset + (rows[7] if rows[7] < size else rows[7] - size),
        )
    # A hashed table's size is a power of two: the low bits are the remainder, and those of 32 bits.
    last = size - 1
    y, z = j * _Y, k * _Z
    up, far = y + _Y, z + _Z
    right = i + 1
    return (
        offset + ((i ^ y ^ z) & last),
        offset + ((i ^ y ^ far) & last),
        offset + ((i ^ up ^ z) & last),
        offset + ((i ^ up ^ far) & last),
        offset + ((right ^ y ^ z) & last),
        offset + ((right ^ y ^ far) & last),
        offset + ((right ^ up ^ z) & last),
        offset + ((right ^ up ^ far) & last),
    )


@njit(inline="always")
def _weights(x, y, z):
    u, v, w = _ONE - x, _ONE - y, _ONE - z
    return u * v * w, u * v * z, u * y * w, u * y * z, x * v * w, x * v * z, x * y * w, x * y * z


@lru_cache(maxsize=4)
def _kernels(features: int) -> _Kernels:

    @compiled(nogil=True, fastmath=_REORDER)
    def gather(table, scales, levels, points, out, start, stop):
        for first in range(start, stop, _BLOCK):
            for number in range(len(levels)):
                level, scale, column = levels[number], scales[number], number * features
                for n in range(first, min(first + _BLOCK, stop)):
                    i, j, k, x, y, z = _locate(points[n], scale, level[0])
                    rows, weights = _rows(i, j, k, level), _weights(x, y, z)
                    for f in range(features):
                        out[n, column + f] = (
                            weights[0] * table[rows[0], f]
                            + weights[1] * table[rows[1], f]
                            + weights[2] * table[rows[2], f]
                            + weights[3] * table[rows[3], f]
                            + weights[4] * table[rows[4], f]
                            + weights[5] * table[rows[5], f]
                            + weights[6] * table[rows[6], f]
                            + weights[7] * table[rows[7], f]
                        )

    @compiled(nogil=True, fastmath=_REORDER)
    def scatter(grad, scales, levels, points, upstream, part, parts):
        for number in range(part, len(levels), parts):
            level, scale, column = levels[number], scales[number], number * features
            for n in range(len(points)):
                i, j, k, x, y, z = _locate(points[n], scale, level[0])
                rows, weights = _rows(i, j, k, level), _weights(x, y, z)
                for f in range(features):
                    value = upstream[n, column + f]
                    grad[rows[0], f] += weights[0] * value
                    grad[rows[1], f] += weights[1] * value
                    grad[rows[2], f] += weights[2] * value
                    grad[rows[3], f] += weights[3] * value
                    grad[rows[4], f] += weights[4] * value
                    grad[rows[5], f] += weights[5] * value
                    grad[rows[6], f] += weights[6] * value
                    grad[rows[7], f] += weights[7] * value

    @compiled(nogil=True, fastmath=_REORDER)
    def slopes(table, scales, levels, points, upstream, grad, start, stop):
        for n in range(start, stop):
            along_x, along_y, along_z = _ZERO, _ZERO, _ZERO
            for number in range(len(levels)):
                level, scale, column = levels[number], scales[number], number * features
                i, j, k, x, y, z = _locate(points[n], scale, level[0])
                rows = _rows(i, j, k, level)
                u, v, w = _ONE - x, _ONE - y, _ONE - z
                for f in range(features):
                    a, b, c, d = table[rows[0], f], table[rows[1], f], table[rows[2], f], table[rows[3], f]
                    e, g, h, o = table[rows[4], f], table[rows[5], f], table[rows[6], f], table[rows[7], f]
                    value = upstream[n, column + f] * scale
                    along_x += value * (v * (w * (e - a) + z * (g - b)) + y * (w * (h - c) + z * (o - d)))
                    along_y += value * (u * (w * (c - a) + z * (d - b)) + x * (w * (h - e) + z * (o - g)))
                    along_z += value * (u * (v * (b - a) + y * (d - c)) + x * (v * (g - e) + y * (o - h)))
            grad[n, 0], grad[n, 1], grad[n, 2] = along_x, along_y, along_z

    return _Kernels(gather, scatter, slopes)


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, table: torch.Tensor, points: torch.Tensor, levels: tuple[Level, ...]
    ) -> torch.Tensor:
        table, points = table.detach().contiguous(), points.detach().contiguous()
        ctx.save_for_backward(table, points)
        ctx.levels = levels
        rows, places = table.numpy(), points.numpy()
        scales, shapes = _as_arrays(levels)
        out = np.empty((len(places), len(levels) * rows.shape[1]), np.float32)
        gather = _kernels(rows.shape[1]).gather
        in_parts(lambda _, a, b: gather(rows, scales, shapes, places, out, a, b), len(places))
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        if torch.is_grad_enabled():  # only where the graph of this pass is wanted, too
            raise SlipcastError(
                "the hash grid's kernels on the CPU have no second derivatives; ask for the encoder 'torch'"
            )
        table, points = ctx.saved_tensors
        rows, places, signal = table.numpy(), points.numpy(), upstream[0].contiguous().numpy()
        scales, shapes = _as_arrays(ctx.levels)
        kernels, to_table, to_points = _kernels(rows.shape[1]), None, None
        if ctx.needs_input_grad[0]:
            grad = np.zeros_like(rows)
            in_parts(
                lambda part, *_: kernels.scatter(grad, scales, shapes, places, signal, part, PARTS),
                len(places),
            )
            to_table = torch.from_numpy(grad)
        if ctx.needs_input_grad[1]:
            slope = np.empty_like(places)
            in_parts(
                lambda _, a, b: kernels.slopes(rows, scales, shapes, places, signal, slope, a, b), len(places)
            )
            to_points = torch.from_numpy(slope)
        return to_table, to_points, None


@lru_cache(maxsize=8)
def _as_arrays(levels: tuple[Level, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Scales float32 [L]; resolution, offset, size and whether it is dense, int64 [L, 4]."""
    shapes = [(one.resolution, one.offset, one.size, int(one.dense)) for one in levels]
    return np.array([one.scale for one in levels], np.float32), np.array(shapes, np.int64)


def encode_on_cpu(table: torch.Tensor, points: torch.Tensor, levels: tuple[Level, ...]) -> torch.Tensor:
    """``hash_grid.encode`` in float32, differentiable once with respect to table and points."""
    return _Encode.apply(table, points, levels)  # type: ignore[no-any-return]
