"""The encoding of ``hash_grid`` on the CPU: numba kernels, forward and backward.

Forward, parts of the points are looked up side by side. Backward, each part owns every second level: no row of the
table is written by two threads, and what it gets comes in the order of the points, so the same inputs give the same
bits however many threads run. Sums come in the order of the plain operations, without the compiler's leave to reorder
or fuse: features equal theirs to the bit. Corners and weights are found for some hundred points in vector operations
before any row is read. The kernels are compiled once for each number of features: a literal count unrolls the
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
_Y, _Z = np.uint32(PRIMES[1]), np.uint32(PRIMES[2])
_BLOCK = 256  # points whose rows and weights stay in the nearest cache while they are looked up
_STRETCH = 2048  # points whose features stay in the cache, too, while level after level is added


class _Kernels(NamedTuple):
    """``gather`` and ``slopes`` (derivatives by the points) do a range of points, ``scatter`` a share of the levels."""

    gather: Any
    scatter: Any
    slopes: Any


@njit(inline="always")
def _cells(places, count, scale, resolution, corner, inside):
    """Lower corners int32 [3, B] and places in the cells [3, B] of ``count`` points, places [3, B].

    Integers are clamped last, so that a NaN stays inside the grid.
    """
    first, last = np.int32(0), np.int32(resolution - 1)
    for axis in range(3):
        for n in range(count):
            place = places[axis, n] * scale + _HALF
            lower = np.int32(place)
            lower = lower if lower > first else first
            lower = lower if lower < last else last
            corner[axis, n], inside[axis, n] = lower, place - np.float32(lower)


@njit(inline="always")
def _row(base, own, other, last, features):
    """A hashed table's size is a power of two: the low bits are the remainder, and those of 32 bits."""
    return np.uint32(np.uint32(base + np.uint32(np.uint32(own ^ other) & last)) * features)


@njit(inline="always")
def _wrapped(base, row, size, features):
    """The outermost corners lie up to a layer beyond a dense table, which is less than its size."""
    return np.uint32(np.uint32(base + np.uint32(row - size if row >= size else row)) * features)


@njit(inline="always")
def _starts(corner, count, level, features, starts):
    """Where the eight corners' rows start in the table's numbers, z quickest, [8, B]: ``hash_levels.rows_of``.

    Every operation of 32 bits is said to be one, or the compiler would take 64, of which a vector holds half as many.
    """
    base, size, wide, one = np.uint32(level[1]), np.uint32(level[2]), np.uint32(features), np.uint32(1)
    if level[3]:
        layer, slab = np.uint32(level[0]), np.uint32(level[0] * level[0])
        for n in range(count):
            across = np.uint32(np.uint32(corner[1, n]) * layer)
            at = np.uint32(
                np.uint32(np.uint32(corner[0, n]) + across) + np.uint32(np.uint32(corner[2, n]) * slab)
            )
            up, far = np.uint32(at + layer), np.uint32(at + slab)
            both = np.uint32(up + slab)
            starts[0, n] = _wrapped(base, at, size, wide)
            starts[1, n] = _wrapped(base, far, size, wide)
            starts[2, n] = _wrapped(base, up, size, wide)
            starts[3, n] = _wrapped(base, both, size, wide)
            starts[4, n] = _wrapped(base, np.uint32(at + one), size, wide)
            starts[5, n] = _wrapped(base, np.uint32(far + one), size, wide)
            starts[6, n] = _wrapped(base, np.uint32(up + one), size, wide)
            starts[7, n] = _wrapped(base, np.uint32(both + one), size, wide)
        return
    last = np.uint32(size - one)
    for n in range(count):
        x, y = np.uint32(corner[0, n]), np.uint32(np.uint32(corner[1, n]) * _Y)
        z = np.uint32(np.uint32(corner[2, n]) * _Z)
        right, up, far = np.uint32(x + one), np.uint32(y + _Y), np.uint32(z + _Z)
        starts[0, n] = _row(base, x, np.uint32(y ^ z), last, wide)
        starts[1, n] = _row(base, x, np.uint32(y ^ far), last, wide)
        starts[2, n] = _row(base, x, np.uint32(up ^ z), last, wide)
        starts[3, n] = _row(base, x, np.uint32(up ^ far), last, wide)
        starts[4, n] = _row(base, right, np.uint32(y ^ z), last, wide)
        starts[5, n] = _row(base, right, np.uint32(y ^ far), last, wide)
        starts[6, n] = _row(base, right, np.uint32(up ^ z), last, wide)
        starts[7, n] = _row(base, right, np.uint32(up ^ far), last, wide)


@njit(inline="always")
def _weights(inside, count, weights):
    """The eight corners' shares of a point, [8, B]."""
    for n in range(count):
        x, y, z = inside[0, n], inside[1, n], inside[2, n]
        u, v, w = _ONE - x, _ONE - y, _ONE - z
        weights[0, n], weights[1, n], weights[2, n], weights[3, n] = (
            u * v * w,
            u * v * z,
            u * y * w,
            u * y * z,
        )
        weights[4, n], weights[5, n], weights[6, n], weights[7, n] = (
            x * v * w,
            x * v * z,
            x * y * w,
            x * y * z,
        )


@njit(inline="always")
def _turned(points, first, count, places):
    for n in range(count):
        for axis in range(3):
            places[axis, n] = points[first + n, axis]


@njit(inline="always")
def _blended(numbers, starts, weights, n, f):
    """A feature of a point; unsigned, so that the compiler need not think of numbers counted from the end."""
    at = np.uintp(f)
    return (
        weights[0, n] * numbers[np.uintp(starts[0, n]) + at]
        + weights[1, n] * numbers[np.uintp(starts[1, n]) + at]
        + weights[2, n] * numbers[np.uintp(starts[2, n]) + at]
        + weights[3, n] * numbers[np.uintp(starts[3, n]) + at]
        + weights[4, n] * numbers[np.uintp(starts[4, n]) + at]
        + weights[5, n] * numbers[np.uintp(starts[5, n]) + at]
        + weights[6, n] * numbers[np.uintp(starts[6, n]) + at]
        + weights[7, n] * numbers[np.uintp(starts[7, n]) + at]
    )


@lru_cache(maxsize=4)
def _kernels(features: int) -> _Kernels:

    @compiled(nogil=True, error_model="numpy")
    def gather(table, scales, levels, points, out, start, stop):
        numbers, places = table.reshape(-1), np.empty((3, _BLOCK), np.float32)
        corner, inside = np.empty((3, _BLOCK), np.int32), np.empty((3, _BLOCK), np.float32)
        starts, weights = np.empty((8, _BLOCK), np.uint32), np.empty((8, _BLOCK), np.float32)
        for stretch in range(start, stop, _STRETCH):
            for number in range(len(levels)):
                column = number * features
                for first in range(stretch, min(stretch + _STRETCH, stop), _BLOCK):
                    count = min(_BLOCK, stop - first)
                    _turned(points, first, count, places)
                    _cells(places, count, scales[number], levels[number, 0], corner, inside)
                    _starts(corner, count, levels[number], features, starts)
                    _weights(inside, count, weights)
                    for n in range(count):
                        if features == 1:
                            out[first + n, column] = _blended(numbers, starts, weights, n, 0)
                        else:  # both before either is written: the compiler reads rows and weights once
                            for f in range(0, features, 2):
                                one = _blended(numbers, starts, weights, n, f)
                                two = _blended(numbers, starts, weights, n, f + 1)
                                out[first + n, column + f], out[first + n, column + f + 1] = one, two

    @compiled(nogil=True, error_model="numpy")
    def scatter(grad, scales, levels, points, upstream, part, parts):
        numbers, places = grad.reshape(-1), np.empty((3, _BLOCK), np.float32)
        corner, inside = np.empty((3, _BLOCK), np.int32), np.empty((3, _BLOCK), np.float32)
        starts, weights = np.empty((8, _BLOCK), np.uint32), np.empty((8, _BLOCK), np.float32)
        for number in range(part, len(levels), parts):
            column = number * features
            for first in range(0, len(points), _BLOCK):
                count = min(_BLOCK, len(points) - first)
                _turned(points, first, count, places)
                _cells(places, count, scales[number], levels[number, 0], corner, inside)
                _starts(corner, count, levels[number], features, starts)
                _weights(inside, count, weights)
                for n in range(count):
                    if features == 1:
                        value = upstream[first + n, column]
                        for e in range(8):
                            numbers[np.uintp(starts[e, n])] += weights[e, n] * value
                    else:
                        for f in range(0, features, 2):
                            one, two = upstream[first + n, column + f], upstream[first + n, column + f + 1]
                            for e in range(8):
                                at, weight = np.uintp(starts[e, n]) + np.uintp(f), weights[e, n]
                                numbers[at] += weight * one
                                numbers[at + np.uintp(1)] += weight * two

    @compiled(nogil=True, error_model="numpy")
    def slopes(table, scales, levels, points, upstream, grad, start, stop):
        numbers, places = table.reshape(-1), np.empty((3, _BLOCK), np.float32)
        corner, inside = np.empty((3, _BLOCK), np.int32), np.empty((3, _BLOCK), np.float32)
        starts, heard = np.empty((8, _BLOCK), np.uint32), np.empty((8, _BLOCK), np.float32)
        for stretch in range(start, stop, _STRETCH):
            for number in range(len(levels)):
                scale, column = scales[number], number * features
                for first in range(stretch, min(stretch + _STRETCH, stop), _BLOCK):
                    count = min(_BLOCK, stop - first)
                    _turned(points, first, count, places)
                    _cells(places, count, scale, levels[number, 0], corner, inside)
                    _starts(corner, count, levels[number], features, starts)
                    for n in range(count):  # what is heard of each corner, all its features together
                        for e in range(8):
                            total, at = _ZERO, np.uintp(starts[e, n])
                            for f in range(features):
                                total += upstream[first + n, column + f] * numbers[at + np.uintp(f)]
                            heard[e, n] = total * scale
                    for n in range(count):
                        x, y, z = inside[0, n], inside[1, n], inside[2, n]
                        u, v, w = _ONE - x, _ONE - y, _ONE - z
                        a, b, c, d = heard[0, n], heard[1, n], heard[2, n], heard[3, n]
                        e, g, h, o = heard[4, n], heard[5, n], heard[6, n], heard[7, n]
                        along_x = v * (w * (e - a) + z * (g - b)) + y * (w * (h - c) + z * (o - d))
                        along_y = u * (w * (c - a) + z * (d - b)) + x * (w * (h - e) + z * (o - g))
                        along_z = u * (v * (b - a) + y * (d - c)) + x * (v * (g - e) + y * (o - h))
                        grad[first + n, 0] += along_x
                        grad[first + n, 1] += along_y
                        grad[first + n, 2] += along_z

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
            slope = np.zeros_like(places)
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
