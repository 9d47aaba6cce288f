"""Rays through a grid of raw values on the CPU, in one pass: samples, interpolation, activations, sums, and back.

What ``renderers`` does in a dozen operations over all samples, each of them written to memory, is done here ray by ray
while its samples are in the cache, and so is the gradient: with x_i = sigma_i delta_i, T_i = exp(-sum of x_j, j < i),
w_i = T_i (1 - exp(-x_i)) and G_i the derivative of the loss by w_i,

    dL/dx_i = T_i exp(-x_i) G_i - sum over j > i of w_j G_j

(NeRF's quadrature, arXiv:2003.08934, eq. 3, differentiated). Samples are those of ``ray_sampling``; sums come in
another order and exponentials from a polynomial, so that pictures equal the other renderers' to 2e-6, not to the bit.
Each part of the rays scatters into a buffer of its own: the same inputs give the same bits however many threads run.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numba import njit

from ..compiled import compiled
from .ray_sampling import sample_rays
from .shapes import Cells, Channels, PerRay, Rays
from .trilinear import PARTS, blend, in_chunks, in_parts, locate, share

_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_FEW_RAYS = 512  # a thread's share at a time
# A sample of less weight shows no colour: all of a ray's together are below a picture's last bits. When a surface is
# hard nine in ten are.
_UNSEEN = np.float32(1e-8)
_UNFELT = np.float32(1e-16)  # derivatives: nothing beside Adam's epsilon
_LEAST_OPACITY = np.float32(1e-6)  # of a ray whose depth is told
# exp(x) = 2^n exp(x - n ln 2); ln 2 in two parts, of which n times the first is exact.
_PER_LN2, _LN2_HIGH, _LN2_LOW = np.float32(1.442695041), np.float32(0.693359375), np.float32(-2.1219444e-4)
_LOWEST, _HIGHEST = np.float32(-87), np.float32(87)  # beyond, float32 ends
_TAYLOR = tuple(np.float32(1 / factor) for factor in (5040, 720, 120, 24, 6, 2))


@runtime_checkable
class Gridded(Protocol):
    """A field that is trilinear in raw values: density peak * sigmoid(sharpness * raw), colour sigmoid(raw)."""

    @property
    def peak(self) -> float:
        """Density where raw is large."""
        ...

    @property
    def sharpness(self) -> float:
        """How hard the surface at raw = 0 is."""
        ...

    def raw_values(self) -> Channels:
        """[R, R, R, 4]: density's, then red, green, blue, index order [x, y, z]; see ``voxels``."""
        ...


@njit(inline="always")
def _exp(x):
    """exp to 2e-7 of itself; NaN stays NaN. Without a branch, so that a loop over it becomes vector operations."""
    x = min(max(x, _LOWEST), _HIGHEST)
    n = np.int32(np.floor(x * _PER_LN2 + _HALF))
    r = (x - np.float32(n) * _LN2_HIGH) - np.float32(n) * _LN2_LOW
    y = _TAYLOR[0]
    for factor in _TAYLOR[1:]:
        y = y * r + factor
    y = (y * r + _ONE) * r + _ONE
    return y * np.int32((n + 127) << 23).view(np.float32)


@njit(inline="always")
def _points(origin, direction, distances, points):
    for s in range(len(distances)):
        for axis in range(3):
            points[s, axis] = origin[axis] + distances[s] * direction[axis]


@njit(inline="always")
def _sigmoid(x):
    return _ONE / (_ONE + _exp(-x))


@njit(inline="always")
def _weigh(solid, density, before, weights):
    """T_i and w_i of a ray's samples; density: what x_i is where all is solid."""
    tau = _ZERO
    for s in range(len(weights)):
        weights[s] = -density * solid[s]
        before[s] = tau
        tau += weights[s]
    for s in range(len(before)):
        before[s] = _exp(before[s])
    for s in range(len(weights)):
        weights[s] = _ONE - _exp(weights[s])
    for s in range(len(weights)):
        weights[s] *= before[s]


@compiled(nogil=True, error_model="numpy")
def _add_up(grid, origins, directions, rays, distances, steps, peak, sharpness, shown, sums, start, stop):
    """sums [N, 5]: colour, opacity, depth; shown [A, S, 4]: the activations, for the way back."""
    resolution, count, cells = grid.shape[0], distances.shape[1], grid.reshape(-1, 4)
    before, weights = np.empty(count, np.float32), np.empty(count, np.float32)
    points, solid = np.empty((count, 3), np.float32), np.empty(count, np.float32)
    colours, seen = np.empty((count, 3), np.float32), np.empty(count, np.int64)
    for row in range(start, stop):
        ray, found = rays[row], 0
        _points(origins[ray], directions[ray], distances[row], points)
        for s in range(count):
            i, j, k, a, b = locate(points[s], resolution)
            solid[s] = sharpness * blend(cells, resolution, i, j, k, a, b, 0)
        for s in range(count):
            solid[s] = _sigmoid(solid[s])
        _weigh(solid, steps[row] * peak, before, weights)
        for s in range(count):
            shown[row, s, 0] = solid[s]
            if not weights[s] < _UNSEEN:  # NaN is to be seen
                i, j, k, a, b = locate(points[s], resolution)
                for c in range(3):
                    colours[found, c] = blend(cells, resolution, i, j, k, a, b, c + 1)
                seen[found] = s
                found += 1
        flat = colours.reshape(-1)
        for n in range(3 * found):
            flat[n] = _sigmoid(flat[n])
        red, green, blue, opacity, depth = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
        for n in range(found):
            w = weights[seen[n]]
            for c in range(3):
                shown[row, seen[n], c + 1] = colours[n, c]
            red += w * colours[n, 0]
            green += w * colours[n, 1]
            blue += w * colours[n, 2]
        for s in range(count):
            opacity += weights[s]
            depth += weights[s] * distances[row, s]
        sums[ray, 0], sums[ray, 1], sums[ray, 2], sums[ray, 3] = red, green, blue, opacity
        sums[ray, 4] = depth / max(opacity, _LEAST_OPACITY)


@compiled(nogil=True, error_model="numpy")
def _take_back(
    grad, origins, directions, rays, distances, steps, peak, sharpness, shown, sums, upstream, start, stop
):
    """Scatter upstream [N, 5], the loss's derivatives by the sums, into the grid's."""
    resolution, count, flat = grad.shape[0], distances.shape[1], grad.reshape(-1, 4)
    before, weights = np.empty(count, np.float32), np.empty(count, np.float32)
    points, solid = np.empty((count, 3), np.float32), np.empty(count, np.float32)
    for row in range(start, stop):
        ray, density = rays[row], steps[row] * peak
        red, green, blue = upstream[ray, 0], upstream[ray, 1], upstream[ray, 2]
        opacity = max(sums[ray, 3], _LEAST_OPACITY)
        far = upstream[ray, 4] / opacity
        here = upstream[ray, 3] - (far * sums[ray, 4] if sums[ray, 3] > _LEAST_OPACITY else _ZERO)
        for s in range(count):
            solid[s] = shown[row, s, 0]
        _weigh(solid, density, before, weights)
        _points(origins[ray], directions[ray], distances[row], points)
        behind = _ZERO
        for s in range(count - 1, -1, -1):
            w, p = weights[s], solid[s]
            by_weight, seen = here + far * distances[row, s], not w < _UNSEEN
            if seen:
                by_weight += red * shown[row, s, 1] + green * shown[row, s, 2] + blue * shown[row, s, 3]
            slope = ((before[s] - w) * by_weight - behind) * density * sharpness * p * (_ONE - p)
            behind += w * by_weight
            if not seen and abs(slope) < _UNFELT:
                continue
            i, j, k, a, b = locate(points[s], resolution)
            share(flat, resolution, i, j, k, a, b, 0, slope)
            if seen:
                r, g, bl = shown[row, s, 1], shown[row, s, 2], shown[row, s, 3]
                share(flat, resolution, i, j, k, a, b, 1, w * red * r * (_ONE - r))
                share(flat, resolution, i, j, k, a, b, 2, w * green * g * (_ONE - g))
                share(flat, resolution, i, j, k, a, b, 3, w * blue * bl * (_ONE - bl))


class _Render(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grid: torch.Tensor, peak: float, sharpness: float, *placed: Any) -> torch.Tensor:
        cells = grid.detach().contiguous().numpy()
        origins, directions, rays, distances, steps = (one.numpy() for one in placed)
        numbers = np.float32(peak), np.float32(sharpness)
        shown = np.empty((*distances.shape, 4), np.float32)
        sums = np.zeros((len(origins), 5), np.float32)
        ctx.placed = origins, directions, rays, distances, steps, *numbers, shown
        ctx.shape = cells.shape
        in_chunks(lambda a, b: _add_up(cells, *ctx.placed, sums, a, b), len(rays), _FEW_RAYS)
        ctx.sums = sums
        return torch.from_numpy(sums)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[Any, ...]:
        signal, rays = upstream[0].contiguous().numpy(), ctx.placed[2]
        buffers = np.zeros((PARTS, *ctx.shape), np.float32)
        in_parts(
            lambda part, a, b: _take_back(buffers[part], *ctx.placed, ctx.sums, signal, a, b),
            len(rays),
            least=_FEW_RAYS,
        )
        total = torch.from_numpy(buffers[0])
        for other in buffers[1:]:
            total += torch.from_numpy(other)
        return total, *(None,) * 7


def render_grid(
    field: Gridded,
    origins: Rays,
    directions: Rays,
    *,
    samples: int,
    mask: Cells | None,
    generator: torch.Generator | None,
) -> tuple[Rays, PerRay, PerRay]:
    """A ``renderers.Renderer``: rgb [N, 3] premultiplied by opacity, opacity [N], depth [N], differentiable once.

    Args:
        origins, directions: [N, 3] float32 on the CPU, where the grid is.
        samples, mask, generator: see ``ray_sampling.sample_rays``.
    """
    placed = sample_rays(origins, directions, samples=samples, mask=mask, generator=generator)
    sums = _Render.apply(
        field.raw_values(),
        field.peak,
        field.sharpness,
        origins.detach().contiguous(),
        directions.detach().contiguous(),
        placed.rays,
        placed.distances,
        placed.step,
    )
    return sums[:, :3], sums[:, 3], sums[:, 4]
