"""``ray_sampling``'s walk through cells written with tensors, for devices that numba does not reach.

Every ray crosses at most 3 (M + 1) planes between cells. Their distances, sorted, cut it into pieces that each lie in
one cell, so that what the walk adds up cell by cell is a cumulative sum over pieces.
"""

from __future__ import annotations

import torch

from .ray_sampling import EMPTY, LOOK, OPAQUE_LENGTH, SHORTEST, SOLID, RaySamples, ray_offsets
from .shapes import Cells, Rays

_FAR = 1e30
_PARALLEL = 1e-12


def sample_rays_by_torch(
    origins: Rays,
    directions: Rays,
    *,
    samples: int,
    mask: Cells | None = None,
    generator: torch.Generator | None = None,
) -> RaySamples:
    """See ``ray_sampling.sample_rays``; rays, mask and samples are on one device, whichever it is.

    Args:
        generator: of the CPU; the same offsets are drawn from it on every device.
    """
    origins, directions = origins.detach(), directions.detach()
    if mask is None:
        mask = torch.full((1, 1, 1), LOOK, dtype=torch.uint8, device=origins.device)
    start, length = _pieces(mask.shape[0], origins, directions)
    middle = origins[:, None] + (start + length / 2)[..., None] * directions[:, None]
    cell = ((middle + 1) * 0.5 * mask.shape[0]).long().clamp(0, mask.shape[0] - 1)
    content = mask[cell[..., 0], cell[..., 1], cell[..., 2]]
    solid = torch.where(content == SOLID, length, 0)
    before = solid.cumsum(1) - solid
    # A piece of a solid cell counts up to where the ray has been solid long enough; nothing counts after that.
    seen = torch.where(content == SOLID, torch.minimum(length, OPAQUE_LENGTH - before), length)
    seen = torch.where((content == EMPTY) | (before >= OPAQUE_LENGTH), 0, seen)
    total = seen.sum(1)
    rays = (total > SHORTEST).nonzero()[:, 0]
    step = total[rays] / samples
    offsets = ray_offsets(len(origins), generator).to(origins.device)[rays]
    along = (torch.arange(samples, device=origins.device) + offsets[:, None]) * step[:, None]
    ends = seen[rays].cumsum(1)
    piece = torch.searchsorted(ends, along, right=True).clamp_max(ends.shape[1] - 1)
    into = along - (ends - seen[rays]).gather(1, piece)
    return RaySamples(rays, start[rays].gather(1, piece) + into, step)


def _pieces(count: int, origins: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where pieces of rays inside the box begin and how long they are, [N, 3 M + 2] each; beside the box 0."""
    planes = torch.arange(count + 1, device=origins.device, dtype=origins.dtype) * 2 / count - 1
    parallel = directions.abs() < _PARALLEL
    ways = torch.where(parallel, torch.ones_like(directions), directions)
    crossings = (planes - origins[..., None]) / ways[..., None]  # [N, 3, M + 1]
    outer = crossings[..., 0], crossings[..., -1]
    first, last = torch.minimum(*outer), torch.maximum(*outer)
    inside = origins.abs() <= 1
    first = torch.where(parallel, torch.where(inside, 0, _FAR), first)
    last = torch.where(parallel, torch.where(inside, _FAR, -1), last)
    near, far = first.amax(1).clamp_min(0), last.amin(1)
    crossings = torch.where(parallel[..., None], near[:, None, None], crossings)
    edges = crossings.flatten(1).clamp(min=near[:, None]).minimum(far.maximum(near)[:, None]).sort(1).values
    return edges[:, :-1], edges.diff(dim=1)
