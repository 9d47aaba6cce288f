"""What a trained hash field hands on: voxels of a finer grid, whose surface lies where the field's is seen.

A trained hash field jumps from solid to empty within a part of a cell, and between the nodes of a grid raw values run
straight: read off at the nodes alone, the surface would come to lie anywhere between two of them, which frays outlines
and costs a picture 1 to 3 dB. So nodes beside the surface tell their distance to it, in which a grid's surface is exact
(a signed distance function; Osher and Fedkiw 2003, Level Set Methods, chapter 2). The surface is what is seen of the
field: the level at which a cell takes half of the light, a little outside of raw = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from ..field.hash_field import HashField
from ..field.query import CHUNK
from ..field.shapes import PerPoint, Points
from ..field.voxels import DENSITY_PEAK, VoxelField, cell_centres
from .connectivity import join_pieces
from .surface_colour import surface_points

# Cells of what comes out, along each side of one of ``refine.resolution``: with two, a picture loses 1 dB more.
_FINER = 3
_SLOPE = 1.0  # raw density a cell, at most: light that is lost within less falls between the samples of a ray
_REACH, _LOOKS = 1.5, 12  # how many cells off a surface is looked for, and at how many places


@torch.no_grad()
def as_voxels(field: HashField, start: VoxelField, near: torch.Tensor) -> VoxelField:
    """A hash field on a grid, in one piece, empty where nobody sees, and coloured from its surface.

    Args:
        start: what stands for the field far from the surface.
        near: bool [R, R, R], the cells in which the field itself is asked.
    """
    for axis in range(3):
        near = near.repeat_interleave(_FINER, axis)
    values = torch.cat(
        [field.raw(part) for part in cell_centres(len(near), near.device)[near.reshape(-1)].split(CHUNK)]
    )
    rough = start.upsample(len(near))
    fine = VoxelField(
        rough.raw_density.masked_scatter(near, values[:, 0]),
        rough.raw_colour.masked_scatter(near[..., None], values[:, 1:]),
        field.sharpness,
    )
    _place_surface(fine, lambda points: field.raw(points)[:, 0], near)
    fine.raw_density.copy_(join_pieces(fine.raw_density))
    fine.prune()
    # Colours are the field's own at the surface: outside, where at last no light is stopped, nobody has looked for
    # long, and a grid would mix what is there into its surface.
    cells, feet = surface_points(fine.raw_density)
    for cell, foot in zip(cells.split(CHUNK), feet.split(CHUNK), strict=True):
        fine.raw_colour.view(-1, 3)[cell] = field.raw(foot)[:, 1:]
    return fine


def _place_surface(fine: VoxelField, raw_of: Callable[[Points], PerPoint], near: torch.Tensor) -> None:
    """Put distances to the surface that is seen in the place of raw densities beside it."""
    level = seen_level(fine.sharpness, cell := 2 / len(near))
    above = fine.raw_density - level
    beside = _beside(above > 0) & near
    side = above[beside].sign()
    # The direction is the neighbourhood's: by itself a node, flat on both sides of a jump, knows none.
    smooth = F.avg_pool3d(above.clamp(-1, 1)[None, None], 3, stride=1, padding=1)[0, 0]
    towards = torch.stack(torch.gradient(smooth), dim=-1)[beside] * -side[:, None]
    places = cell_centres(len(near), near.device)[beside.reshape(-1)]
    off, slopes = distances(
        lambda points: raw_of(points) - level, places, F.normalize(towards, dim=-1) * cell, above[beside]
    )
    if len(off):
        slope = min(_SLOPE, slopes.median().item() if len(slopes) else _SLOPE)
        fine.raw_density[beside] = level + slope * side * off


def seen_level(sharpness: float, cell: float) -> float:
    """The raw density of which one cell takes half of the light."""
    share = math.log(2) / (cell * sharpness * DENSITY_PEAK)
    return math.log(share / (1 - share)) / sharpness


def _beside(solid: torch.Tensor) -> torch.Tensor:
    """Nodes of which one of the 26 around is on the other side, [R, R, R]."""
    one = solid.float()
    return largest_around(one, 1) != -largest_around(-one, 1)


def largest_around(values: torch.Tensor, reach: int) -> torch.Tensor:
    """The largest value within so many cells along every axis, [R, R, R]."""
    for axis in range(3):
        count, found = values.shape[axis], values.clone()
        for way in range(1, min(reach + 1, count)):
            for here, there in ((0, way), (way, 0)):
                at = found.narrow(axis, here, count - way)
                torch.maximum(at, values.narrow(axis, there, count - way), out=at)
        values = found
    return values


def distances(
    value_of: Callable[[Points], PerPoint], places: Points, step: Points, here: PerPoint
) -> tuple[PerPoint, PerPoint]:
    """How many steps it is from places [N, 3] to where the values' sign changes, [N], ``_REACH`` if not before, and how
    steep they are there, a step, of those that arrive, [M].

    Args:
        step: [N, 3], of one cell, towards the surface.
        here: values at the places, [N].
    """
    found, slopes = torch.full_like(here, _REACH), [here[:0]]
    left, before = torch.arange(len(here), device=here.device), here
    for look in range(_LOOKS):
        points = places[left] + _REACH * (look + 1) / _LOOKS * step[left]
        now = torch.cat([value_of(part) for part in points.split(CHUNK)])
        crossed = now * before <= 0
        fall = (before - now)[crossed]
        found[left[crossed]] = _REACH * (look + before[crossed] / fall.where(fall != 0, 1.0)) / _LOOKS
        slopes.append(fall.abs() * _LOOKS / _REACH)
        left, before = left[~crossed], now[~crossed]
    return found, torch.cat(slopes)
