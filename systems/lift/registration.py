"""Where a lifted object has to stand, and how large it has to be, for its outline to be the picture's.

A picture is framed by the outline that it shows, an object by its size in space (``surface.framing``): seen from above,
or wider than it looks from the front, it comes out a few per cent larger or lower than the picture shows it, and what
holds refinement to the picture would have to eat away a rim. So the object is scaled and moved, along the picture's
axes, until both outlines have one area and one centre of mass: tips, which a grid loses, hardly count in these.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..field.cameras import FRAMING_FOV_Y_RAD, FRAMING_RADIUS, orbit_camera
from ..field.shapes import PerPoint, Points
from ..field.volume_rendering import render_image
from ..field.voxels import SURFACE_DENSITY, FrozenGrid
from ..types import RadianceField, SubjectImage
from .gridding import as_grid, solid_centres
from .solid import field_of_surface
from .surface import Surface
from .turned import Turned

if TYPE_CHECKING:
    from .table import LiftTask

_CELLS, _PIXELS, _ROUNDS = 64, 128, 4
_SEEN = 0.5  # opacity
_WORTH = 0.01  # of the overlap: less is left alone, so that what fits already stays as it is
_HARD = 1e4  # a density that nothing is seen through
_REACH = 0.98  # of the box, within which the object stays


def registration(field: RadianceField, picture: SubjectImage, elevation_rad: float) -> tuple[Points, float]:
    """(middle, scale): (p - middle) * scale is where what is at p belongs; (0, 1) if nothing is gained.

    Args:
        field: framed, its front towards -Y.
        picture: square, seen from the front at this elevation.
    """
    grid, wanted = as_grid(field, _CELLS), picture.premultiplied(_PIXELS)[..., 3] > _SEEN
    camera = orbit_camera(0.0, elevation_rad)
    solid, hard = solid_centres(grid), opaque(grid)
    length = 2 * math.tan(FRAMING_FOV_Y_RAD / 2) * FRAMING_RADIUS / _PIXELS  # of a pixel, where the object is

    def outline(middle: Points, scale: float) -> np.ndarray:
        _, opacity, _ = render_image(Turned(hard, 0.0, middle, scale), camera, _PIXELS, samples=2 * _CELLS)
        return opacity.numpy() > _SEEN

    middle, scale = torch.zeros(3), 1.0
    seen = outline(middle, scale)
    best, most = (middle, scale), _overlap(seen, wanted) + _WORTH
    for _ in range(_ROUNDS):
        if not (seen.any() and wanted.any()):
            break
        (row, column, area), (their_row, their_column, their_area) = _moments(seen), _moments(wanted)
        scale *= math.sqrt(their_area / area)
        right, up = (their_column - column) * length, (row - their_row) * length / math.cos(elevation_rad)
        middle = middle - torch.tensor([right, 0.0, up], dtype=torch.float32) / scale
        if ((solid - middle).abs() * scale).max() > _REACH:
            break
        seen = outline(middle, scale)
        if (overlap := _overlap(seen, wanted)) > most:
            best, most = (middle, scale), overlap
    return best


def opaque(grid: FrozenGrid) -> RadianceField:
    """The same with a hard surface: through its soft edge an object looks half a cell larger than it is."""

    def hard(points: Points) -> tuple[PerPoint, Points]:
        density, colour = grid(points)
        return _HARD * (density > SURFACE_DENSITY), colour

    return hard


def registered(surface: Surface, task: LiftTask) -> FrozenGrid:
    """The field of a framed surface, where and as large as the first picture shows it."""
    field = field_of_surface(surface, min(task.settings.resolution, _CELLS))
    middle, scale = registration(field, task.pictures[0], task.elevation_rad)
    placed = replace(surface, vertices=(surface.vertices - middle.numpy()) * scale)
    return field_of_surface(placed, task.settings.resolution)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def _moments(mask: np.ndarray) -> tuple[float, float, int]:
    """Row and column of the centre of mass, and the area, in pixels."""
    rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean()), len(rows)
