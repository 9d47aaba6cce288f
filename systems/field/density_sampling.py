"""Where a field's surface may be, block by block, so that only there it is asked at full resolution.

The nodes of a grid over [-1, 1]^3 are cut into cubic blocks of BLOCK cells; neighbouring blocks share the nodes between
them. A block is asked only if the surface may pass through it. Two rules say so:

- A field that interpolates a grid of its own (``InterpolatesGrid``) has no extremes between its nodes. A block is left
  out if the nodes around it all lie on one side of the threshold: nothing is ever missed, however thin.
- Any other field is asked on COARSE nodes along each axis first. A block is left out if these nodes, in it and one
  further on each side, are all clearly air (below a tenth of the threshold) or all clearly solid (above the middle
  between the threshold and the field's highest density). Walls thinner than the distance of two coarse nodes,
  2 / (COARSE - 1), may be missed, as they would be by a grid of that resolution.

A block left out is air (0) or solid (the field's highest density).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float

from ...configs.errors import SlipcastError
from ..types import RadianceField
from .query import CHUNK, query
from .shapes import Nodes, Volume

COARSE = 128
"""Nodes along each axis of the first look; grids up to this size are evaluated whole."""
BLOCK = 12
"""Cells along the edge of a block."""
_CLEARLY_AIR = 0.1
_ROUNDING = 1e-5


@runtime_checkable
class InterpolatesGrid(Protocol):
    """A field whose density between the centres of its cells is a rising function of a trilinear interpolation."""

    def density_at_centres(self) -> Volume:
        """Density [R, R, R] at the cell centres (2 i + 1) / R - 1, indexed [x, y, z]; beyond them it stays the same."""
        ...


@dataclass(frozen=True)
class SampledDensity:
    """Density on the nodes of a regular grid, known where the surface may be.

    density [R, R, R] float32 on linspace(-1, 1, R), index order [x, y, z]; asked [B, B, B] bool: the blocks whose
    nodes, shared ones included, hold the field's own values. In other blocks the density is only on the right side of
    the threshold. Pages of memory that nobody wrote to take no room, so density is cheap even at R = 512.
    """

    density: Nodes
    asked: Bool[np.ndarray, "block block block"]

    @classmethod
    def whole(cls, density: Nodes) -> SampledDensity:
        """Density [R, R, R] known at every node."""
        return cls(density, np.ones((-(-(len(density) - 1) // BLOCK),) * 3, bool))

    def blocks(self) -> list[tuple[slice, slice, slice]]:
        """The nodes of every asked block, borders included."""
        return _node_slices(self.asked, len(self.density))


def sample_density(field: RadianceField, resolution: int, chunk: int = CHUNK) -> Nodes:
    """Density at the nodes of a regular grid over [-1, 1]^3, [resolution]*3 float32, indexed [x, y, z].

    Raises:
        SlipcastError: a density that is not finite.
    """
    axis = torch.linspace(-1, 1, resolution)
    out = torch.empty(resolution**3)
    with torch.inference_mode():
        for start in range(0, len(out), chunk):
            index = torch.arange(start, min(start + chunk, len(out)))
            nodes = (index // resolution**2, index // resolution % resolution, index % resolution)
            out[index] = query(field, torch.stack([axis[n] for n in nodes], 1), chunk=chunk)[0]
    density = out.numpy().reshape((resolution,) * 3)
    _check_finite(density)
    return density


@dataclass(frozen=True)
class FirstLook:
    """What is known of a field before its level is: density [K, K, K] at ``positions`` [K] of [-1, 1] along each axis.

    exact: between these nodes the density has no extremes.
    """

    density: Nodes
    positions: Float[np.ndarray, " nodes"]
    exact: bool

    @property
    def spacing(self) -> float:
        """Distance of neighbouring nodes."""
        return float(self.positions[1] - self.positions[0])


def look_at(field: RadianceField, resolution: int, chunk: int = CHUNK) -> FirstLook:
    """The nodes of the field's own grid, or a regular grid of at most COARSE (and ``resolution``) nodes an axis.

    Raises:
        SlipcastError: a density that is not finite.
    """
    if isinstance(field, InterpolatesGrid):
        density = field.density_at_centres().detach().float().cpu().numpy()
        _check_finite(density)
        return FirstLook(density, (2 * np.arange(len(density)) + 1) / len(density) - 1, exact=True)
    count = min(resolution, COARSE)
    return FirstLook(sample_density(field, count, chunk), np.linspace(-1, 1, count), exact=False)


def sample_near_surface(
    field: RadianceField, resolution: int, level: float, look: FirstLook, chunk: int = CHUNK
) -> SampledDensity:
    """Density at ``resolution`` nodes along each axis, asked only in blocks that the level set may pass through.

    Solid blocks at the border of the box are asked too: there the surface is closed.

    Args:
        look: what ``look_at`` found.
        level: the density of the surface, above 0.
        chunk: points per call of the field; bounds the memory.

    Raises:
        SlipcastError: a density that is not finite.
    """
    highest = float(look.density.max())
    if not look.exact and len(look.density) == resolution:
        return SampledDensity.whole(look.density)
    low, high = _extremes(look, resolution, reach=0 if look.exact else 1)
    if look.exact:
        solid, air = low > level * (1 + _ROUNDING), high < level * (1 - _ROUNDING)
    else:
        solid, air = low > (level + max(highest, level)) / 2, high < _CLEARLY_AIR * level
    inner = np.zeros_like(solid)
    inner[1:-1, 1:-1, 1:-1] = True
    asked = ~(air | (solid & inner))
    sampled = SampledDensity(np.zeros((resolution,) * 3, np.float32), asked)
    for block in _node_slices(solid & inner, resolution):
        sampled.density[block] = max(highest, 2 * level)
    _ask(field, sampled, chunk)
    return sampled


def _ask(field: RadianceField, sampled: SampledDensity, chunk: int) -> None:
    """Write the field's density at the nodes of all asked blocks; those between two blocks are asked twice."""
    resolution, edge = len(sampled.density), BLOCK + 1
    axis = torch.linspace(-1, 1, resolution)
    blocks = sampled.blocks()
    at_once = max(1, chunk // edge**3)
    for first in range(0, len(blocks), at_once):
        some = blocks[first : first + at_once]
        starts = torch.tensor([[part.start for part in block] for block in some])
        # Blocks at the upper border may be shorter: their last nodes are asked repeatedly.
        places = axis[(starts[..., None] + torch.arange(edge)).clamp_max(resolution - 1)]
        points = torch.empty(len(some), edge, edge, edge, 3)
        points[..., 0] = places[:, 0, :, None, None]
        points[..., 1] = places[:, 1, None, :, None]
        points[..., 2] = places[:, 2, None, None, :]
        with torch.inference_mode():
            density = query(field, points.view(-1, 3), chunk=max(chunk, edge**3))[0]
        values = density.numpy().reshape(-1, edge, edge, edge)
        _check_finite(values)
        for block, cube in zip(some, values, strict=True):
            target = sampled.density[block]
            target[...] = cube[tuple(slice(n) for n in target.shape)]


def _node_slices(chosen: np.ndarray, resolution: int) -> list[tuple[slice, slice, slice]]:
    """The nodes of every chosen block, those shared with its neighbours included."""
    starts = (np.argwhere(chosen) * BLOCK).tolist()
    return [
        (
            slice(x, min(x + BLOCK + 1, resolution)),
            slice(y, min(y + BLOCK + 1, resolution)),
            slice(z, min(z + BLOCK + 1, resolution)),
        )
        for x, y, z in starts
    ]


def _extremes(look: FirstLook, resolution: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest known density round every block: in it, on either side of it, and ``reach`` nodes more."""
    positions = look.positions
    count = -(-(resolution - 1) // BLOCK)
    edges = np.minimum(np.arange(count + 1) * BLOCK, resolution - 1) * (2 / (resolution - 1)) - 1
    first = np.searchsorted(positions, edges[:-1] - _ROUNDING, side="right") - 1 - reach
    last = np.searchsorted(positions, edges[1:] + _ROUNDING, side="left") + reach
    low = high = look.density
    for axis in range(3):
        spans = [
            np.arange(max(a, 0), min(b, len(positions) - 1) + 1) for a, b in zip(first, last, strict=True)
        ]
        low = np.stack([low.take(span, axis).min(axis) for span in spans], axis)
        high = np.stack([high.take(span, axis).max(axis) for span in spans], axis)
    return low, high


def _check_finite(density: np.ndarray) -> None:
    if not np.isfinite(density).all():
        raise SlipcastError(
            f"the field's density is not finite at {np.count_nonzero(~np.isfinite(density))} of {density.size} points; "
            "the refinement has diverged: run it again with a lower learning rate"
        )
