"""Trilinear interpolation of dense grids, by hand where torch is slow.

A grid is [R, R, R, 4], index order [x, y, z], four channels last (density, red, green, blue), cell centres spread over
[-1, 1]^3: cell i lies at (2 i + 1) / R - 1. Outside the outermost centres the nearest cell's value holds. On the CPU
two numba kernels read and scatter the channels of a corner at once (``torch.nn.functional.grid_sample`` walks the
channels one by one); on other devices ``grid_sample`` itself is used, with the same meaning of coordinates.

Other kernels have these loops' bodies compiled into them. They round as they are written, without the compiler's
leave to reorder or fuse: a hard surface makes 1e-4 of a last bit, and bits must not depend on who calls.

The backward pass scatters into a fixed number of private buffers that are summed in a fixed order, so that its result
does not depend on how many threads run: the same inputs give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numba import njit

from ..compiled import compiled
from .shapes import Channels, Interpolated, Points

PARTS = 2
"""Into how many parts work is cut. A constant, not the number of cores: the order of sums must not depend on it."""

_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1), np.float32(0)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=PARTS - 1, thread_name_prefix="slipcast-grid")


def in_parts(work: Callable[[int, int, int], None], count: int, *, least: int = 4096) -> None:
    """Call ``work(part, start, stop)`` for PARTS ranges of ``count`` items, side by side if torch may use two threads.

    The kernels release the interpreter lock; plain threads keep out of the way of OpenMP, whose second pool would spin
    against torch's.

    Args:
        least: fewer items are not worth a thread.
    """
    edges = [count * part // PARTS for part in range(PARTS + 1)]
    if torch.get_num_threads() == 1 or count < least:
        for part in range(PARTS):
            work(part, edges[part], edges[part + 1])
        return
    pending = [_pool().submit(work, part, edges[part], edges[part + 1]) for part in range(1, PARTS)]
    work(0, edges[0], edges[1])
    for part, future in enumerate(pending, 1):
        if (
            future.cancel()
        ):  # torch's threads spin for a while after each operation: ours may not have come to run
            work(part, edges[part], edges[part + 1])
        else:
            future.result()


def in_chunks(work: Callable[[int, int], None], count: int, size: int) -> None:
    """Call ``work(start, stop)`` for ranges of up to ``size`` of ``count`` items, side by side as in ``in_parts``.

    For work whose result does not depend on the order: whichever thread is free takes the next range.
    """
    starts = iter(range(0, count, size))  # its next() is one step of the interpreter: no range is taken twice

    def take() -> None:
        for start in starts:
            work(start, min(start + size, count))

    if torch.get_num_threads() == 1 or count <= size:
        take()
        return
    helper = _pool().submit(take)
    take()
    if not helper.cancel():
        helper.result()


@njit(inline="always")
def locate(point, resolution):
    """Lower corner and the eight weights, x slowest. Integers are clamped last, so that a NaN stays inside the grid."""
    scale = np.float32(resolution)
    x = (point[0] + _ONE) * _HALF * scale - _HALF
    y = (point[1] + _ONE) * _HALF * scale - _HALF
    z = (point[2] + _ONE) * _HALF * scale - _HALF
    i = max(0, min(int(x), resolution - 2))
    j = max(0, min(int(y), resolution - 2))
    k = max(0, min(int(z), resolution - 2))
    fx = min(max(x - np.float32(i), _ZERO), _ONE)
    fy = min(max(y - np.float32(j), _ZERO), _ONE)
    fz = min(max(z - np.float32(k), _ZERO), _ONE)
    gx, gy, gz = _ONE - fx, _ONE - fy, _ONE - fz
    low = (gx * gy * gz, gx * gy * fz, gx * fy * gz, gx * fy * fz)
    high = (fx * gy * gz, fx * gy * fz, fx * fy * gz, fx * fy * fz)
    return i, j, k, low, high


@njit(inline="always")
def blend(flat, count, i, j, k, a, b, c):
    """One channel of a grid [R^3, C] of R = ``count`` at a point that ``locate`` found."""
    # Of one unsigned index the compiler knows that it does not count from the end, as negative ones do.
    one, layer = np.uintp(1), np.uintp(count)
    here = np.uintp((i * count + j) * count + k)
    there = here + np.uintp(count * count)
    return (
        a[0] * flat[here, c]
        + a[1] * flat[here + one, c]
        + a[2] * flat[here + layer, c]
        + a[3] * flat[here + layer + one, c]
        + b[0] * flat[there, c]
        + b[1] * flat[there + one, c]
        + b[2] * flat[there + layer, c]
        + b[3] * flat[there + layer + one, c]
    )


@njit(inline="always")
def share(flat, count, i, j, k, a, b, c, value):
    """Add a derivative by one channel there to those by the grid."""
    one, layer = np.uintp(1), np.uintp(count)
    here = np.uintp((i * count + j) * count + k)
    there = here + np.uintp(count * count)
    flat[here, c] += a[0] * value
    flat[here + one, c] += a[1] * value
    flat[here + layer, c] += a[2] * value
    flat[here + layer + one, c] += a[3] * value
    flat[there, c] += b[0] * value
    flat[there + one, c] += b[1] * value
    flat[there + layer, c] += b[2] * value
    flat[there + layer + one, c] += b[3] * value


@compiled(nogil=True)
def gather(grid, points, out, start, stop):
    """The grid's values [., 4] at points start to stop."""
    count, flat = grid.shape[0], grid.reshape(-1, 4)
    for n in range(start, stop):
        i, j, k, a, b = locate(points[n], count)
        for c in range(4):
            out[n, c] = blend(flat, count, i, j, k, a, b, c)


@compiled(nogil=True)
def _scatter(grad, points, upstream, start, stop):
    count, flat = grad.shape[0], grad.reshape(-1, 4)
    for n in range(start, stop):
        i, j, k, a, b = locate(points[n], count)
        for c in range(4):
            share(flat, count, i, j, k, a, b, c, upstream[n, c])


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grid: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        points = points.detach().contiguous()
        ctx.save_for_backward(points)
        ctx.grid_shape = grid.shape
        cells, places = grid.detach().contiguous().numpy(), points.numpy()
        out = np.empty((len(places), 4), cells.dtype)
        in_chunks(lambda start, stop: gather(cells, places, out, start, stop), len(places), 8192)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        (points,) = ctx.saved_tensors
        places, signal = points.numpy(), upstream[0].contiguous().numpy()
        buffers = np.zeros((PARTS, *ctx.grid_shape), signal.dtype)
        in_parts(lambda part, start, stop: _scatter(buffers[part], places, signal, start, stop), len(places))
        total = torch.from_numpy(buffers[0])
        for other in buffers[1:]:
            total += torch.from_numpy(other)
        return total, None


def interpolate(grid: Channels, points: Points) -> Interpolated:
    """The grid's values at points, differentiable with respect to the grid only.

    Args:
        grid: [R, R, R, 4], R >= 2, index order [x, y, z].
        points: [N, 3] in [-1, 1]^3, of the same dtype.
    Returns:
        [N, 4].
    """
    if grid.ndim != 4 or grid.shape[3] != 4 or len(set(grid.shape[:3])) != 1 or grid.shape[0] < 2:
        raise ValueError(f"expected a grid [R, R, R, 4] with R >= 2, not {tuple(grid.shape)}")
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype != grid.dtype:
        raise ValueError(
            f"expected points [N, 3] of {grid.dtype}, not {tuple(points.shape)} of {points.dtype}"
        )
    if grid.device.type == "cpu":
        return _Interpolate.apply(grid, points)  # type: ignore[no-any-return]
    return interpolate_by_torch(grid, points)


def interpolate_by_torch(grid: Channels, points: Points) -> Interpolated:
    """``interpolate`` written with ``grid_sample``: for other devices, and to test the kernels by."""
    # grid_sample wants [B, C, depth, height, width] and coordinates in the order (width, height, depth).
    volume = grid.permute(3, 0, 1, 2)[None]
    places = points.flip(-1)[None, None, None]
    values = torch.nn.functional.grid_sample(volume, places, padding_mode="border", align_corners=False)
    return values[0, :, 0, 0].T
