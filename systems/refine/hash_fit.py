"""Warm start of a hash field: regression of a voxel field's raw values on points, most of them near its surface."""

from __future__ import annotations

import math

import numpy as np
import torch

from ...guidance.noise import named_generator
from ..field.hash_field import HashField
from ..field.hash_levels import GridShape
from ..field.trilinear import interpolate
from ..field.voxels import VoxelField, cell_centres

FIT_STEPS = 200
_NEAR_POINTS, _POINTS = 12288, 2048  # a step's, near the surface and anywhere
_RATE, _LAST_RATE = 0.1, 0.1  # at 0.02, colours are blurred by some 4 dB more
_EPS = 1e-15  # as Instant-NGP: gradients of a row that few points reach are tiny and no less true
_NEAR_CELLS = 3.0
_SEEN = 3.0  # raw density at which half the weight of a colour begins: emptier space shows none


def near_surface(raw_density: torch.Tensor) -> torch.Tensor:
    """Which cells' centres lie within 3 cells of the other side of the surface raw = 0: bool [R, R, R]."""
    # Imported late: scipy.ndimage is not needed for more.
    from scipy.ndimage import distance_transform_edt

    solid = (raw_density > 0).cpu().numpy()
    inwards, outwards = (np.asarray(distance_transform_edt(one)) for one in (solid, ~solid))
    return torch.from_numpy(inwards + outwards <= _NEAR_CELLS).to(raw_density.device)


def fitted(start: VoxelField, shape: GridShape, neurons: int, steps: int = FIT_STEPS) -> HashField:
    """A hash field that says what a voxel field of sharpness 1 does, on its device.

    Its random numbers are the same every time: the same field is fitted by the same bits at the same number of threads.
    """
    generator, device = named_generator(0, "hash grid"), start.device
    field = HashField(shape, neurons=neurons, generator=generator).to(device)
    values = torch.cat([start.raw_density[..., None], start.raw_colour], dim=-1).detach()
    centres = cell_centres(start.resolution)[near_surface(start.raw_density).reshape(-1).cpu()]
    optimiser = torch.optim.Adam(field.parameters(), lr=_RATE, betas=(0.9, 0.99), eps=_EPS, fused=True)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = _RATE * (
            _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / steps))
        )
        points = _draw(centres, start.resolution, generator).to(device)
        wanted = interpolate(values, points)
        error = (field.raw(points) - wanted).square()
        seen = torch.sigmoid(wanted[:, :1] + _SEEN)
        optimiser.zero_grad(set_to_none=True)
        (error[:, 0].mean() + (seen * error[:, 1:]).mean()).backward()
        optimiser.step()
    return field


def _draw(centres: torch.Tensor, resolution: int, generator: torch.Generator) -> torch.Tensor:
    anywhere = torch.rand(_POINTS, 3, generator=generator) * 2 - 1
    if not len(centres):
        return anywhere
    picks = torch.randint(len(centres), (_NEAR_POINTS,), generator=generator)
    jitter = (torch.rand(_NEAR_POINTS, 3, generator=generator) * 2 - 1) / resolution
    return torch.cat([centres[picks] + jitter, anywhere])
