"""How rays through a field are added up, one way for each kind of device: the table ``RENDERERS``.

The dense ones put the same number of samples on every ray, where ``ray_sampling`` says to look, and differ in what
places them: numba's kernels on the CPU, tensor operations on any device. They ask for densities from front to back, and
for colours and gradients only where those say that light is taken. For a field that is nothing but a grid one kernel
does all of it on the CPU (``grid_rendering``). nerfacc's packed one marches in equal steps through what is not empty,
with as many samples on a ray as it needs; its kernels are CUDA's alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch

from ..types import RadianceField
from .grid_rendering import Gridded, render_grid
from .query import density_of, device_of
from .ray_sampling import EMPTY, LOOK, RaySamples, ray_offsets, sample_rays
from .ray_sampling_torch import sample_rays_by_torch
from .shapes import Cells, PerRay, Rays

_DARK = 1e-4  # of the light: behind this, samples are left out
_UNFELT = 1e-8  # of the light: a sample that takes less of it is not seen
_STRETCH = 8  # samples of a ray that are looked at together, before those behind them

Sums = tuple[Rays, PerRay, PerRay]
"""rgb [N, 3] premultiplied by opacity, opacity [N], depth [N]: see ``volume_rendering.Rendered``."""


class Sampling(NamedTuple):
    """How rays are sampled: so many samples each, where the mask says, stratified if there is a generator."""

    samples: int
    mask: Cells | None = None
    generator: torch.Generator | None = None


Renderer = Callable[[RadianceField, Rays, Rays, Sampling], Sums]
"""Origins and directions [N, 3] on the field's device, as the mask -> sums, differentiable as the field is."""


def _dense(
    place: Callable[..., RaySamples],
    field: RadianceField,
    origins: Rays,
    directions: Rays,
    sampling: Sampling,
) -> Sums:
    # Imported late: only rendering needs it.
    from nerfacc import accumulate_along_rays

    placed = place(origins, directions, **sampling._asdict())
    rays, distances = placed.rays, placed.distances
    points = origins[rays, None] + distances[..., None] * directions[rays, None]
    felt = _felt(field, points, placed.step)
    density, colour = field(points.view(-1, 3)[felt])
    densities = distances.new_zeros(distances.numel()).index_copy(0, felt, density).view_as(distances)
    colours = torch.zeros_like(points).view(-1, 3).index_copy(0, felt, colour).view_as(points)
    weights, _, _ = _weighed(densities, placed.step)
    opacity = accumulate_along_rays(weights, None)[:, 0]
    depth = accumulate_along_rays(weights, distances[..., None])[:, 0] / opacity.clamp_min(1e-6)
    rgb = accumulate_along_rays(weights, colours)
    count = len(origins)
    return _spread(rgb, rays, count), _spread(opacity, rays, count), _spread(depth, rays, count)


@torch.no_grad()
def _felt(field: RadianceField, points: torch.Tensor, step: PerRay) -> torch.Tensor:
    """Which samples [A, S, 3] take a part of the light, indices into A * S; the others' derivatives are as small."""
    unfelt = torch.ones(points.shape[:2], dtype=torch.bool, device=points.device)
    lit, light = torch.arange(len(points), device=points.device), torch.ones_like(step)
    for first in range(0, points.shape[1], _STRETCH):
        stretch = slice(first, first + _STRETCH)
        part = points[lit, stretch]
        density = density_of(field, part.reshape(-1, 3)).view(part.shape[:2])
        weights, light_at, shares = _weighed(density, step[lit], light[:, None])
        unfelt[lit, stretch] = weights <= _UNFELT  # NaN is not, and so is seen
        left = light_at[:, -1] * (1 - shares[:, -1])
        dark = left <= _UNFELT
        lit, light = lit[~dark], left[~dark]
        if not len(lit):
            break
    return (~unfelt).view(-1).nonzero()[:, 0]


def _weighed(density: torch.Tensor, step: PerRay, light: torch.Tensor | None = None) -> Any:
    """Of densities [A, S]: parts of the light that they take, the light that comes to them, and their shares of it."""
    from nerfacc import render_weight_from_density

    # Only t_ends - t_starts enters; starting at 0 keeps the difference free of rounding.
    ends = step[:, None].expand_as(density)
    return render_weight_from_density(torch.zeros_like(ends), ends, density, prefix_trans=light)


def _gridded(field: RadianceField, origins: Rays, directions: Rays, sampling: Sampling) -> Sums:
    if not isinstance(field, Gridded):
        raise ValueError("the renderer 'grid' reads fields that are grids; ask for 'numba'")
    return render_grid(field, origins, directions, **sampling._asdict())


def _packed(field: RadianceField, origins: Rays, directions: Rays, sampling: Sampling) -> Sums:
    """Steps of 2 / samples: a ray straight through a full box gets ``samples`` of them.

    nerfacc's estimator marches through the mask as it is at this moment, and leaves out what no light reaches: to find
    that the field is asked for density alone, without a gradient and, on a GPU, in half precision.
    """
    from nerfacc import OccGridEstimator, accumulate_along_rays, render_weight_from_density

    device, count, step, mask = origins.device, len(origins), 2 / sampling.samples, sampling.mask
    if mask is None:
        mask = torch.full((1, 1, 1), LOOK, dtype=torch.uint8, device=device)
    estimator = OccGridEstimator([-1, -1, -1, 1, 1, 1], len(mask)).to(device)
    estimator.binaries = (mask != EMPTY)[None]

    def density_at(starts: PerRay, ends: PerRay, rays: torch.Tensor) -> PerRay:
        middle = (starts + ends) / 2
        with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            return density_of(field, origins[rays] + middle[:, None] * directions[rays]).float()

    rays, starts, ends = estimator.sampling(
        origins,
        directions,
        density_at,
        t_min=ray_offsets(count, sampling.generator).to(device) * step,
        render_step_size=step,
        early_stop_eps=_DARK,
    )
    middle = (starts + ends) / 2
    density, colour = field(origins[rays] + middle[:, None] * directions[rays])
    weights, _, _ = render_weight_from_density(starts, ends, density, ray_indices=rays, n_rays=count)
    opacity = accumulate_along_rays(weights, None, rays, count)[:, 0]
    depth = accumulate_along_rays(weights, middle[:, None], rays, count)[:, 0] / opacity.clamp_min(1e-6)
    return accumulate_along_rays(weights, colour, rays, count), opacity, depth


def _spread(values: torch.Tensor, rays: torch.Tensor, count: int) -> torch.Tensor:
    """Values of the rays that hit, set into an array of all rays; 0 elsewhere."""
    return values.new_zeros((count, *values.shape[1:])).index_copy(0, rays, values)


RENDERERS: dict[str, Renderer] = {
    "grid": _gridded,
    "numba": partial(_dense, sample_rays),
    "torch": partial(_dense, sample_rays_by_torch),
    "nerfacc": _packed,
}
"""grid: fields that are a grid, on the CPU; numba: the CPU; torch: any device; nerfacc: CUDA with nerfacc's kernels."""


def renderer_for(field: RadianceField) -> str:
    """The quickest key of ``RENDERERS`` for the device that a field is on."""
    kind = device_of(field).type
    if kind == "cpu":
        return "grid" if isinstance(field, Gridded) else "numba"
    return "nerfacc" if kind == "cuda" and _has_kernels() else "torch"


@lru_cache(maxsize=1)
def _has_kernels() -> bool:
    """Whether nerfacc's CUDA kernels are installed, or can be compiled here (by its import)."""
    from nerfacc.cuda import _backend

    return _backend._C is not None
