"""Volume rendering: density and colour along rays -> picture.

    T(t) = exp(-integral of sigma up to t),   w_i = T_i (1 - exp(-sigma_i delta_i)),
    rgb = sum w_i c_i + T_end background

(Max 1995; NeRF, arXiv:2003.08934, eq. 3). ``renderers`` holds the ways to add this up, one for each kind of device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float

from ..types import RadianceField
from .cameras import Camera, camera_rays
from .query import device_of
from .renderers import RENDERERS, Sampling, renderer_for
from .shapes import Cells, ColourPicture, PerRay, Picture, Rays


@runtime_checkable
class KnowsEmptySpace(Protocol):
    """A field that can say where it is empty, so that rendering does not look there."""

    def occupied(self) -> Cells:
        """uint8 [M, M, M] over [-1, 1]^3, index order [x, y, z], of EMPTY, LOOK and SOLID (see ``ray_sampling``)."""
        ...


@dataclass(frozen=True)
class Rendered:
    """rgb [N, 3] over the background (premultiplied by opacity if there was none), opacity [N], depth [N].

    depth is the mean distance from the camera along the ray, weighted as the colour is; 0 where nothing is hit.
    """

    rgb: Rays
    opacity: PerRay
    depth: PerRay


def render_rays(
    field: RadianceField,
    origins: Rays,
    directions: Rays,
    *,
    samples: int,
    background: Float[torch.Tensor, " 3"] | Rays | tuple[float, float, float] | None,
    generator: torch.Generator | None = None,
    mask: Cells | None = None,
    renderer: str | None = None,
) -> Rendered:
    """Render rays through a field, differentiable with respect to what the field returns.

    Args:
        origins, directions: [N, 3], unit directions, on any device.
        samples: per ray, spread over its length inside occupied space.
        background: one colour, or one per ray [N, 3]; None leaves rgb premultiplied by opacity.
        generator: of the CPU, for stratified samples; without it they are regular.
        mask: uint8 [M, M, M] of where to look (see ``ray_sampling``); None asks the field (``occupied``), or else
            looks everywhere.
        renderer: a key of ``RENDERERS``; by default the quickest for the field's device.
    Returns:
        On the field's device.
    """
    if mask is None and isinstance(field, KnowsEmptySpace):
        mask = field.occupied()
    device = device_of(field)
    origins, directions = origins.to(device), directions.to(device)
    mask = None if mask is None else mask.to(device)
    render = RENDERERS[renderer or renderer_for(field)]
    rgb, opacity, depth = render(field, origins, directions, Sampling(samples, mask, generator))
    if background is not None:
        behind = torch.as_tensor(background, dtype=rgb.dtype, device=device)
        rgb = rgb + (1 - opacity)[:, None] * behind
    return Rendered(rgb, opacity, depth)


@torch.no_grad()
def render_image(
    field: RadianceField,
    camera: Camera,
    size: int,
    *,
    samples: int = 96,
    background: tuple[float, float, float] | None = None,
) -> tuple[ColourPicture, Picture, Picture]:
    """A picture without gradients: rgb [size, size, 3], opacity [size, size], depth [size, size], row 0 at the top.

    On the CPU, wherever the field is.
    """
    origins, directions = camera_rays(camera, size)
    parts = []
    for start in range(0, len(origins), 16384):  # bounds memory: 16384 rays of 96 samples take about 60 MB
        piece = slice(start, start + 16384)
        parts.append(
            render_rays(field, origins[piece], directions[piece], samples=samples, background=background)
        )
    rgb = torch.cat([part.rgb for part in parts]).reshape(size, size, 3).cpu()
    opacity = torch.cat([part.opacity for part in parts]).reshape(size, size).cpu()
    depth = torch.cat([part.depth for part in parts]).reshape(size, size).cpu()
    return rgb, opacity, depth
