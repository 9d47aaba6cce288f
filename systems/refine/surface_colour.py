"""Colours that come from a field's surface and do not change across its skin.

Light goes a little way into a radiance field, less far on a slant than straight on. Where colour changes with depth, a
view can therefore show what no other view does, and score distillation finds that out: it colours each cell of the skin
for the views that happen to see it, and no texture of a mesh can hold what comes out. So a colour is what it is at the
surface, raw = 0, and the cells above and below, along the normal, show the same: the constant extension of level sets
(grad c . n = 0; Zhao, Chan, Merriman, Osher 1996, J. Comput. Phys. 127).
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch.func import functional_call

from ..field.trilinear import interpolate
from ..field.voxels import DENSITY_PEAK, VoxelField, cell_centres
from .surface_kernels import extend_on_cpu, surface_points_on_cpu

_STEPS = 4
_REACH_CELLS = 4.0  # farther from the surface nothing is seen of a field of any use
_AT_SURFACE = 0.5  # |raw| that counts as the surface: a fraction of a cell


class SurfaceColoured:
    """A voxel field as it is at this moment, with colours from its surface; differentiable with respect to its grids.

    To be made anew after every step of an optimiser. ``raw_colour`` [R, R, R, 3] is the colours after the extension.
    """

    def __init__(self, field: VoxelField) -> None:
        self._field = field
        self._seen = field.occupied()
        self.raw_colour = extend_from_surface(field.raw_density, field.raw_colour)

    def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """points [N, 3] -> density [N], rgb [N, 3]."""
        return functional_call(self._field, {"raw_colour": self.raw_colour}, (points,))  # type: ignore[no-any-return]

    def raw_values(self) -> torch.Tensor:
        """Density and the extended colours before their activations, [R, R, R, 4] (see ``grid_rendering``)."""
        return self._raw

    @cached_property
    def _raw(self) -> torch.Tensor:
        return torch.cat([self._field.raw_density[..., None], self.raw_colour], dim=-1)

    @property
    def peak(self) -> float:
        """The largest density at this sharpness."""
        return self._field.sharpness * DENSITY_PEAK

    @property
    def sharpness(self) -> float:
        """The field's."""
        return self._field.sharpness

    @cached_property
    def occupancy(self) -> torch.Tensor:
        """[R, R, R] in [0, 1], the field's own; 1 is solid."""
        return self._field.occupancy()

    @property
    def device(self) -> torch.device:
        """Where the field is."""
        return self._field.device

    def occupied(self) -> torch.Tensor:
        """Where rendering has to look (see ``voxels.occupied_cells``)."""
        return self._seen


def extend_from_surface(raw_density: torch.Tensor, raw_colour: torch.Tensor) -> torch.Tensor:
    """Colours [R, R, R, 3] of which those of cells near the surface are the surface's; the others stay.

    Args:
        raw_density: [R, R, R], 0 at the surface; gets no gradient.
        raw_colour: [R, R, R, 3]; the result is differentiable with respect to it.
    """
    cells, feet = surface_points(raw_density)
    if raw_colour.device.type == "cpu":
        return extend_on_cpu(raw_colour, cells, feet)
    return extend_by_torch(raw_colour, cells, feet)


def extend_by_torch(raw_colour: torch.Tensor, cells: torch.Tensor, feet: torch.Tensor) -> torch.Tensor:
    """Colours [R, R, R, 3] of which those of the cells [N] are those at their feet [N, 3]; the others stay."""
    # Interpolation reads four channels.
    grid = torch.nn.functional.pad(raw_colour, (1, 0))
    flat = raw_colour.reshape(-1, 3).index_copy(0, cells, interpolate(grid, feet)[:, 1:])
    return flat.view_as(raw_colour)


@torch.no_grad()
def surface_points(raw_density: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The cells near the level set raw = 0, [N] indices into the flat grid, and their centres' feet on it, [N, 3].

    Newton's method along the gradient, a cell a step at most. Cells from which it does not arrive are left out.
    """
    if raw_density.device.type == "cpu":
        reach = _REACH_CELLS * 2 / len(raw_density)
        return surface_points_on_cpu(raw_density, reach=reach, steps=_STEPS, at_surface=_AT_SURFACE)
    return surface_points_by_torch(raw_density)


@torch.no_grad()
def surface_points_by_torch(raw_density: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``surface_points`` for devices that numba does not reach, and to test the kernels by."""
    resolution = len(raw_density)
    cell = 2 / resolution
    grid = torch.stack([raw_density, *torch.gradient(raw_density, spacing=cell)], dim=-1)
    steep = grid[..., 1:].square().sum(-1).sqrt()
    cells = (raw_density.abs() < _REACH_CELLS * cell * steep).reshape(-1).nonzero()[:, 0]
    centres = cell_centres(resolution, raw_density.device)[cells]
    feet = centres.clone()
    for _ in range(_STEPS):
        value = interpolate(grid, feet)
        raw, slope = value[:, :1], value[:, 1:]
        length = slope.norm(dim=1, keepdim=True).clamp_min(1e-6)
        feet -= (raw / length).clamp(-cell, cell) * slope / length
    arrived = interpolate(grid, feet)[:, 0].abs() < _AT_SURFACE
    arrived &= (feet - centres).norm(dim=1) < _REACH_CELLS * cell
    arrived &= (feet.abs() <= 1).all(dim=1)
    return cells[arrived], feet[arrived]
