"""Where to look along rays: the box [-1, 1]^3 cut into coarse cells of which only the occupied ones get samples.

A mask is a uint8 array [M, M, M], index order [x, y, z], over [-1, 1]^3: EMPTY cells are passed over, LOOK cells are
sampled, SOLID cells too, but a ray that has gone OPAQUE_LENGTH through them ends there, because nothing behind can be
seen. What is left of each ray is cut into equal pieces with one sample in each: a chair's legs get all the samples, the
air between them and the inside of the seat none, without ragged arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit

from ..compiled import compiled
from .shapes import Cells, PerRay, Rays
from .trilinear import in_chunks

EMPTY, LOOK, SOLID = 0, 1, 2
OPAQUE_LENGTH = 0.2
"""Whoever marks a cell SOLID promises that this length through such cells lets less than 1e-3 of the light through."""
SHORTEST = 1e-4
"""Rays with less than this to look at are left out."""

_FAR = np.float32(1e30)
_NUDGE = np.float32(1e-6)


@dataclass(frozen=True)
class RaySamples:
    """Samples of the A rays, out of N, that meet a cell which is not EMPTY.

    rays [A]: their indices; distances [A, S]: from the ray's origin to each sample;
    step [A]: the length each sample stands for.
    """

    rays: Int[torch.Tensor, " hit"]
    distances: Float[torch.Tensor, "hit sample"]
    step: Float[torch.Tensor, " hit"]


@njit(inline="always")
def _span(origin, direction, low, high):
    """Distances at which a ray enters and leaves a box (slab test), not behind the origin; none if near >= far."""
    near, far = np.float32(0), _FAR
    for axis in range(3):
        if abs(direction[axis]) < 1e-12:
            if origin[axis] < low[axis] or origin[axis] > high[axis]:
                far = np.float32(-1)
            continue
        one = (low[axis] - origin[axis]) / direction[axis]
        two = (high[axis] - origin[axis]) / direction[axis]
        near, far = max(near, min(one, two)), min(far, max(one, two))
    return near, far


@njit(inline="always")
def _cell_of(origin, direction, distance, count):
    place = origin + (distance + _NUDGE) * direction
    return max(0, min(int((place + 1) * 0.5 * count), count - 1))


@njit(inline="always")
def _cell_exit(origin, direction, cell, count):
    """Distance at which the ray leaves the cell through the planes of one axis."""
    if abs(direction) < 1e-12:
        return _FAR
    side = cell + 1 if direction > 0 else cell
    plane = np.float32(side) * np.float32(2) / np.float32(count) - np.float32(1)
    return (plane - origin) / direction


@njit(inline="always")
def _walk(mask, origin, direction, near, far, enters, leaves):
    """Follow one ray from cell to cell: where it enters and leaves those to look at, and how many they are."""
    count = mask.shape[0]
    x, y, z = origin[0], origin[1], origin[2]
    right, up, along = direction[0], direction[1], direction[2]
    i, j, k = _cell_of(x, right, near, count), _cell_of(y, up, near, count), _cell_of(z, along, near, count)
    # Of three exits one changes from cell to cell: a division is what such a step costs.
    exit_x, exit_y = _cell_exit(x, right, i, count), _cell_exit(y, up, j, count)
    exit_z = _cell_exit(z, along, k, count)
    here, solid, found = near, np.float32(0), 0
    while here < far:
        axis, leave = 0, exit_x
        if exit_y < leave:
            axis, leave = 1, exit_y
        if exit_z < leave:
            axis, leave = 2, exit_z
        leave = max(here, min(leave, far))
        content = mask[i, j, k]
        if content == SOLID:
            solid += leave - here
            if solid >= OPAQUE_LENGTH:
                leave = max(here, leave - (solid - np.float32(OPAQUE_LENGTH)))
                far = leave
        if content != EMPTY:
            enters[found], leaves[found] = here, leave
            found += 1
        here = leave
        if axis == 0:
            i += 1 if right > 0 else -1
            if i < 0 or i >= count:
                break
            exit_x = _cell_exit(x, right, i, count)
        elif axis == 1:
            j += 1 if up > 0 else -1
            if j < 0 or j >= count:
                break
            exit_y = _cell_exit(y, up, j, count)
        else:
            k += 1 if along > 0 else -1
            if k < 0 or k >= count:
                break
            exit_z = _cell_exit(z, along, k, count)
    return found


@njit(inline="always")
def _spread(enters, leaves, found, step, offset, distances):
    """Sample s lies (s + offset) * step into the length inside cells to look at."""
    length, written = np.float32(0), 0
    for cell in range(found):
        here, inside = enters[cell], leaves[cell] - enters[cell]
        while written < len(distances):
            into = (np.float32(written) + offset) * step - length
            if into >= inside:
                break
            distances[written] = here + into
            written += 1
        length += inside
    for late in range(written, len(distances)):  # rounding can leave the very last sample over
        distances[late] = leaves[found - 1]


@compiled(nogil=True, error_model="numpy")
def _place(mask, box, origins, directions, offsets, lengths, distances, start, stop):
    """Lengths [N] inside cells to look at, and where there is one the samples' distances [N, S]."""
    most = 3 * mask.shape[0]  # cells on a straight line
    enters, leaves = np.empty(most, np.float32), np.empty(most, np.float32)
    samples = np.float32(distances.shape[1])
    for ray in range(start, stop):
        lengths[ray] = length = np.float32(0)
        near, far = _span(origins[ray], directions[ray], box[0], box[1])
        if near < far:
            found = _walk(mask, origins[ray], directions[ray], near, far, enters, leaves)
            for cell in range(found):
                length += leaves[cell] - enters[cell]
            lengths[ray] = length
            if length > SHORTEST:
                _spread(enters, leaves, found, length / samples, offsets[ray], distances[ray])


def _surrounding(cells: np.ndarray) -> np.ndarray:
    """Low and high corner, float32 [2, 3], of a box around all that is not EMPTY: rays outside need no walk.

    A cell wider than need be, so that rounding leaves nothing out; not beyond [-1, 1]^3.
    """
    corners = np.empty((2, 3), np.float32)
    for axis, (first, stop) in enumerate(extent(cells != EMPTY)):
        ends = (first - 1, stop + 1) if stop else (0, 0)
        corners[:, axis] = np.clip(np.array(ends, np.float32) * 2 / len(cells) - 1, -1, 1)
    return corners


def extent(filled: np.ndarray) -> list[tuple[int, int]]:
    """The first filled cell of a bool [R, R, R] along each axis and the one after the last; (0, 0) if none is."""
    ends = []
    for axis in range(3):
        some = np.flatnonzero(filled.any(axis=tuple({0, 1, 2} - {axis})))
        ends.append((int(some[0]), int(some[-1]) + 1) if len(some) else (0, 0))
    return ends


def ray_offsets(count: int, generator: torch.Generator | None) -> PerRay:
    """Where in its piece a ray's samples lie, [N] in [0, 1), on the CPU; without a generator in the middle.

    Drawn for all rays, hit or not: the number of draws must not depend on the field.
    """
    return torch.full((count,), 0.5) if generator is None else torch.rand(count, generator=generator)


def sample_rays(
    origins: Rays,
    directions: Rays,
    *,
    samples: int,
    mask: Cells | None = None,
    generator: torch.Generator | None = None,
) -> RaySamples:
    """Stratified samples along rays, where the mask says to look.

    Args:
        origins, directions: [N, 3] float32 on the CPU, unit directions.
        samples: how many per ray, equally far apart.
        mask: uint8 [M, M, M]; None is one cell to look at, the whole box.
        generator: one offset per ray inside its pieces is drawn from it; without it samples are the pieces' middles.
    """
    # Every array here is the CPU's: ``ray_sampling_torch`` does the same elsewhere.
    cells = np.full((1, 1, 1), LOOK, np.uint8) if mask is None else mask.contiguous().numpy()
    starts, ways = origins.detach().contiguous().numpy(), directions.detach().contiguous().numpy()
    offsets, box = ray_offsets(len(starts), generator).numpy(), _surrounding(cells)
    lengths, distances = np.empty(len(starts), np.float32), np.empty((len(starts), samples), np.float32)
    in_chunks(
        lambda a, b: _place(cells, box, starts, ways, offsets, lengths, distances, a, b), len(starts), 1024
    )
    rays = np.flatnonzero(lengths > SHORTEST)
    steps = lengths[rays] / np.float32(samples)
    return RaySamples(torch.from_numpy(rays), torch.from_numpy(distances[rays]), torch.from_numpy(steps))
