"""Whatever a lift returns, on the grid that the next stages read; and the blob where nothing is lifted."""

from __future__ import annotations

import torch

from ..field.query import query
from ..field.shapes import Points
from ..field.voxels import FrozenGrid, cell_centres, raw_from_density
from ..types import Mesh, RadianceField
from .solid import field_of_surface
from .surface import surface_of

_SOLID = 0.5  # occupancy


@torch.no_grad()
def as_grid(lifted: RadianceField | Mesh, resolution: int) -> FrozenGrid:
    """A lift's result as occupancy and colours, ``resolution`` cells along each edge; a grid stays as it is.

    A field is read at the cells' centres, a mesh is filled.

    Raises:
        BadInput: a mesh that encloses nothing.
    """
    if isinstance(lifted, FrozenGrid):
        return lifted
    if isinstance(lifted, Mesh):
        return field_of_surface(surface_of(lifted), resolution)
    density, colours = query(lifted, cell_centres(resolution))
    cube = (resolution,) * 3
    # A frozen grid doubles the log-odds of what it holds.
    return FrozenGrid(torch.sigmoid(raw_from_density(density) / 2).view(cube), colours.view(*cube, 3))


def solid_centres(grid: FrozenGrid) -> Points:
    """Centres of the cells that are solid, [N, 3], on the CPU."""
    return cell_centres(grid.resolution)[(grid.occupancy > _SOLID).reshape(-1).cpu()]


_BLOB_RADIUS, _BLOB_EDGE, _BLOB_GREY = 0.5, 0.1, 0.5


def blob(resolution: int) -> FrozenGrid:
    """A soft grey ball in the middle, on ``resolution`` cells a side: what DreamFusion begins from, in our frame."""
    away = cell_centres(resolution).norm(dim=1)
    cube = (resolution,) * 3
    occupancy = torch.sigmoid((_BLOB_RADIUS - away) / _BLOB_EDGE).view(cube)
    return FrozenGrid(occupancy, torch.full((*cube, 3), _BLOB_GREY))
