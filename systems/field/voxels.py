"""Radiance fields on dense grids: the frozen one an image-to-3D network gives and the trainable one made from it.

Both hold [R, R, R, 4] values (density channel, then red, green, blue), index order [x, y, z], cell centres spread over
[-1, 1]^3, interpolate them trilinearly, and turn them into density and colour AFTER interpolation: a surface inside a
cell stays sharp (DVGO, arXiv:2111.11215, section 4.1). Density is per unit length,

    sigma = s * DENSITY_PEAK * sigmoid(s * raw),

bounded, so that no step can make a wall infinitely hard; the surface, where occupancy is one half, is raw = 0. The one
number s, the sharpness, turns haze (1) into a hard surface at the same place, as 1/beta does for a signed distance
(VolSDF, arXiv:2106.12052, eq. 2).
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import nn

from ...configs.errors import SlipcastError
from ..types import RadianceField
from .files import read_arrays, write_arrays
from .query import device_of, query
from .ray_sampling import EMPTY, SOLID
from .shapes import Cells, Colours, PerPoint, Points, Volume
from .trilinear import interpolate

DENSITY_PEAK = 80.0
"""Density of solid matter at sharpness 1: light through one cell of a 64-cell grid (1/32) is dimmed to 8 %."""
SURFACE_DENSITY = DENSITY_PEAK / 2
"""The density whose level set is the surface (occupancy one half), at sharpness 1."""
NEGLIGIBLE_DENSITY = 0.005 * DENSITY_PEAK
"""Below this a cell is empty space to the renderer and to ``VoxelField.prune``."""
RAW_LIMIT = 6.0
"""Warm starts keep |raw| within this: from further out a cell could not change sides in a few hundred steps."""
_RAW_EMPTY = -15.0  # no density even across the whole box, for cells that are out of play

_LARGEST_SHARPNESS = 1e6  # far beyond any surface; density and its square stay finite
_SHARPENING = 2.0  # see FrozenGrid
_MASK_CELL = 2  # grid cells along the edge of one cell of the occupancy mask


def cell_centres(resolution: int, device: str | torch.device = "cpu") -> Points:
    """Centres of all cells, [R^3, 3], x slowest."""
    axis = (torch.arange(resolution, dtype=torch.float32, device=device) * 2 + 1) / resolution - 1
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)


def raw_from_density(density: Float[torch.Tensor, "*any"]) -> Float[torch.Tensor, "*any"]:
    """Inverse of the density activation, limited to +-RAW_LIMIT."""
    return torch.logit((density / DENSITY_PEAK).clamp(1e-6, 1 - 1e-6)).clamp(-RAW_LIMIT, RAW_LIMIT)


def occupied_cells(raw_density: Volume, sharpness: float = 1.0) -> Cells:
    """Where a raw density grid [R, R, R] is empty, to be looked at or solid: uint8 [M, M, M], M = ceil(R / 2).

    What is not empty is grown by one mask cell. That covers interpolation, which reaches half a cell beyond a
    value, and leaves a film of visible empty space around the object into which refinement can grow it.
    """
    threshold = torch.logit(torch.tensor(NEGLIGIBLE_DENSITY / (sharpness * DENSITY_PEAK))).item() / sharpness
    least, largest = _extremes(raw_density.detach())
    look = (largest > threshold).to(torch.uint8)
    for axis in range(3):  # grow along one axis after the other
        grown, length = look.clone(), len(look) - 1
        grown.narrow(axis, 1, length).bitwise_or_(look.narrow(axis, 0, length))
        grown.narrow(axis, 0, length).bitwise_or_(look.narrow(axis, 1, length))
        look = grown
    # sigmoid(2) = 0.88; even if neighbours halve that towards the cell's walls, OPAQUE_LENGTH dims light to 1e-3.
    look[least > 2.0 / sharpness] = SOLID
    return look


def _extremes(raw: Volume) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and largest value in each mask cell, [M, M, M] each; beyond the grid all is empty."""
    count = -(-raw.shape[0] // _MASK_CELL)
    odd = count * _MASK_CELL - raw.shape[0]
    if odd:
        raw = torch.nn.functional.pad(raw, (0, odd) * 3, value=-RAW_LIMIT)
    # One axis after the other: reductions over short axes, all at once, are slow.
    least = largest = raw
    for axis in range(3):
        pairs = [one.unflatten(axis, (count, _MASK_CELL)).unbind(axis + 1) for one in (least, largest)]
        least, largest = torch.minimum(*pairs[0]), torch.maximum(*pairs[1])
    return least, largest


class VoxelField(nn.Module):
    """A trainable dense radiance field: ``raw_density`` [R, R, R] and ``raw_colour`` [R, R, R, 3] (sigmoid).

    sharpness: how hard the surface is, above 0; not trained.
    """

    def __init__(self, raw_density: Volume, raw_colour: Colours, sharpness: float = 1.0) -> None:
        super().__init__()
        self.sharpness = sharpness
        _check_grids("raw density", raw_density, raw_colour)
        self.raw_density = nn.Parameter(raw_density.detach().float().contiguous().clone())
        self.raw_colour = nn.Parameter(raw_colour.detach().float().contiguous().clone())

    @property
    def resolution(self) -> int:
        """Cells along an edge."""
        return self.raw_density.shape[0]

    @property
    def device(self) -> torch.device:
        """Where its grids are."""
        return self.raw_density.device

    def forward(self, points: Points) -> tuple[PerPoint, Points]:
        """points [N, 3] -> density [N], rgb [N, 3], differentiable with respect to the grids."""
        values = interpolate(self._values(), points)
        return self._density(values[:, 0]), torch.sigmoid(values[:, 1:])

    def _density(self, raw: torch.Tensor) -> torch.Tensor:
        return self.sharpness * DENSITY_PEAK * torch.sigmoid(self.sharpness * raw)

    def _values(self) -> torch.Tensor:
        return torch.cat([self.raw_density[..., None], self.raw_colour], dim=-1)

    def density_at_centres(self) -> Volume:
        """Density [R, R, R] at the cell centres, between which it has no extremes (see ``density_sampling``)."""
        return self._density(self.raw_density)

    def occupancy(self) -> Volume:
        """sigmoid of the raw density, [R, R, R] in [0, 1], however sharp the field is: 1 is solid."""
        return torch.sigmoid(self.raw_density)

    def occupied(self) -> Cells:
        """Where rendering has to look (see ``occupied_cells``)."""
        return occupied_cells(self.raw_density, self.sharpness)

    @torch.no_grad()
    def prune(self) -> None:
        """Empty every cell outside ``occupied()``: density that no picture shows must not become a surface."""
        keep = self.occupied() != EMPTY
        for axis in range(3):
            keep = keep.repeat_interleave(_MASK_CELL, axis)
        size = self.resolution
        self.raw_density[~keep[:size, :size, :size]] = _RAW_EMPTY

    @classmethod
    @torch.no_grad()
    def from_field(cls, field: RadianceField, resolution: int = 64) -> VoxelField:
        """A copy of any field, by its values at the cell centres, on the same device."""
        density, rgb = query(field, cell_centres(resolution, device_of(field)))
        cube = (resolution,) * 3
        return cls(raw_from_density(density).view(cube), torch.logit(rgb.clamp(0.02, 0.98)).view(*cube, 3))

    @torch.no_grad()
    def upsample(self, resolution: int) -> VoxelField:
        """The same field on another grid; raw values are interpolated, so the surface moves by less than a cell."""
        raw = interpolate(self._values(), cell_centres(resolution, self.device)).view(*(resolution,) * 3, 4)
        return type(self)(raw[..., 0], raw[..., 1:], self.sharpness)

    def save(self, path: Path) -> None:
        """Write one safetensors file, whole or not at all."""
        arrays = {"raw_density": self.raw_density, "raw_colour": self.raw_colour}
        write_arrays(path, "voxel field", arrays, {"sharpness": repr(self.sharpness)})

    @classmethod
    def load(cls, path: Path) -> VoxelField:
        """Read what ``save`` wrote; a SlipcastError in one sentence if it is anything else."""
        expected = {"raw_density": (None, None, None), "raw_colour": (None, None, None, 3)}
        arrays, notes = read_arrays(path, "voxel field", expected)
        return cls(arrays["raw_density"], arrays["raw_colour"], _sharpness(notes.get("sharpness", "1"), path))


class FrozenGrid:
    """Occupancy [R, R, R] and colours [R, R, R, 3] from an image-to-3D network, both in [0, 1], as a radiance field.

    density = DENSITY_PEAK * sigmoid(2 logit(p)), interpolated in p: doubling the log-odds makes a hesitant network's
    haze (p = 0.05 everywhere would be opaque across the box) thin, and leaves the surface p = 1/2 where it is.
    """

    def __init__(self, occupancy: Volume, colours: Colours) -> None:
        _check_grids("occupancy", occupancy, colours)
        self.occupancy = occupancy.detach().float().clamp(0, 1)
        self.colours = colours.detach().float().clamp(0, 1)
        self._values = torch.cat([self.occupancy[..., None], self.colours], dim=-1).contiguous()

    @property
    def resolution(self) -> int:
        """Cells along an edge."""
        return self.occupancy.shape[0]

    @property
    def device(self) -> torch.device:
        """Where its grids are."""
        return self.occupancy.device

    def to(self, device: str | torch.device) -> FrozenGrid:
        """The same field on a device."""
        return FrozenGrid(self.occupancy.to(device), self.colours.to(device))

    def __call__(self, points: Points) -> tuple[PerPoint, Points]:
        """points [N, 3] -> density [N], rgb [N, 3]."""
        values = interpolate(self._values, points)
        return DENSITY_PEAK * torch.sigmoid(_SHARPENING * _log_odds(values[:, 0])), values[:, 1:]

    def density_at_centres(self) -> Volume:
        """Density [R, R, R] at the cell centres, between which it has no extremes (see ``density_sampling``)."""
        return DENSITY_PEAK * torch.sigmoid(_SHARPENING * _log_odds(self.occupancy))

    def occupied(self) -> Cells:
        """Where rendering has to look (see ``occupied_cells``)."""
        return occupied_cells(_SHARPENING * _log_odds(self.occupancy))

    def save(self, path: Path) -> None:
        """Write one safetensors file, whole or not at all."""
        write_arrays(path, "frozen grid", {"occupancy": self.occupancy, "colours": self.colours})

    @classmethod
    def load(cls, path: Path) -> FrozenGrid:
        """Read what ``save`` wrote; a SlipcastError in one sentence if it is anything else."""
        expected = {"occupancy": (None, None, None), "colours": (None, None, None, 3)}
        arrays, _ = read_arrays(path, "frozen grid", expected)
        return cls(arrays["occupancy"], arrays["colours"])


def _sharpness(text: str, path: Path) -> float:
    try:
        sharpness = float(text)
    except ValueError:
        sharpness = math.nan
    if not 0 < sharpness <= _LARGEST_SHARPNESS:
        raise SlipcastError(
            f"{path}: the sharpness should be a number above 0, at most {_LARGEST_SHARPNESS:g}, but is {text!r}; "
            "run the stage that makes it again"
        )
    return sharpness


def _log_odds(probability: torch.Tensor) -> torch.Tensor:
    return torch.logit(probability.clamp(1e-6, 1 - 1e-6))


def _check_grids(name: str, density: torch.Tensor, colours: torch.Tensor) -> None:
    shape = tuple(density.shape)
    if len(shape) != 3 or len(set(shape)) != 1 or shape[0] < 2 or tuple(colours.shape) != (*shape, 3):
        raise ValueError(
            f"expected {name} [R, R, R] and colours [R, R, R, 3], not {shape} and {tuple(colours.shape)}"
        )
