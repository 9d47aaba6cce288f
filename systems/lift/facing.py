"""What a lift made, turned about the vertical until it faces the picture's camera, and put where the picture shows it.

Networks disagree about where the front is, and Shap-E's own outputs differ from seed to seed (openai/shap-e#87). So the
yaw is found by looking: renders from all sides are compared with the picture, each scaled to its own outline, so that
place and size say nothing. The camera's elevation is not known for a picture of the user's; the best of a few counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch.nn import functional as F

from ...configs.errors import SlipcastError
from ..field.cameras import orbit_camera
from ..field.shapes import Points
from ..field.volume_rendering import render_image
from ..field.voxels import FrozenGrid
from ..types import RadianceField, SubjectImage
from .gridding import as_grid, solid_centres
from .registration import registration
from .surface import framing, turn_about_z
from .turned import Turned

_LOOK_CELLS = 64
_RENDERED, _COMPARED = 64, 48  # pixels a side
_ELEVATIONS_DEG = (0.0, 15.0, 30.0)
_COARSE_DEG, _FINE_DEG = 10.0, 2.0
_SEEN = 0.5  # opacity


def faced(field: RadianceField, picture: SubjectImage, elevation_rad: float) -> Turned:
    """The field with its front (-Y) what the picture shows, where and as large as the picture shows it.

    Args: elevation_rad: of the camera that the picture counts as taken by.
    Raises:
        SlipcastError: there is nothing solid in it.
    """
    grid = _solid(field)
    yaw = facing_yaw(Turned(grid, 0.0, *_framing(grid, 0.0)), picture)
    turned = Turned(field, yaw, *_framing(grid, yaw))
    return turned.placed(*registration(turned, picture, elevation_rad))


def facing_yaw(field: RadianceField, picture: SubjectImage) -> float:
    """The turn about +Z, in radians, after which the field is seen from the front as in the picture."""
    seen = as_grid(field, _LOOK_CELLS)
    wanted = _to_outline(picture.premultiplied(4 * _COMPARED))

    def off(azimuth_deg: float, elevation_deg: float) -> float:
        camera = orbit_camera(math.radians(azimuth_deg), math.radians(elevation_deg))
        rgb, opacity, _ = render_image(seen, camera, _RENDERED, samples=_LOOK_CELLS)
        return float((_to_outline(torch.cat([rgb, opacity[..., None]], -1).numpy()) - wanted).abs().mean())

    around = np.arange(0.0, 360.0, _COARSE_DEG)
    best, elevation = _least((off(a, e), a, e) for a in around for e in _ELEVATIONS_DEG)
    near = best + np.arange(-_COARSE_DEG + _FINE_DEG, _COARSE_DEG, _FINE_DEG)
    azimuth, _ = _least((off(a, elevation), a, elevation) for a in near)
    # What a camera at this azimuth sees is to be seen from the front.
    return -math.radians(azimuth)


def _least(tried: Iterable[tuple[float, float, float]]) -> tuple[float, float]:
    _, azimuth, elevation = min(tried)
    return azimuth, elevation


def _to_outline(layers: np.ndarray) -> torch.Tensor:
    """Premultiplied colour and opacity [S, S, 4] -> the square about what is opaque, [4, 48, 48]; zeros without any."""
    picture = torch.from_numpy(np.ascontiguousarray(layers, np.float32)).permute(2, 0, 1)
    rows, columns = (picture[3] > _SEEN).nonzero(as_tuple=True)
    if len(rows) == 0:
        return torch.zeros(4, _COMPARED, _COMPARED)
    top, left = int(rows.min()), int(columns.min())
    height, width = int(rows.max()) + 1 - top, int(columns.max()) + 1 - left
    side = max(height, width)
    down, across = (side - height) // 2, (side - width) // 2
    part = picture[:, top : top + height, left : left + width]
    part = F.pad(part, (across, side - width - across, down, side - height - down))
    size = (_COMPARED, _COMPARED)
    return F.interpolate(part[None], size, mode="bilinear", antialias=True, align_corners=False)[0]


def _solid(field: RadianceField) -> FrozenGrid:
    grid = as_grid(field, _LOOK_CELLS)
    if not len(solid_centres(grid)):
        raise SlipcastError(
            "the lift made nothing solid; try another lift.seed, or a picture in which the object stands out"
        )
    return grid


def _framing(grid: FrozenGrid, yaw_rad: float) -> tuple[Points, float]:
    """(middle, scale) that put the solid cells, turned so, into the common framing."""
    turn = torch.from_numpy(turn_about_z(yaw_rad))
    middle, scale = framing((solid_centres(grid).double() @ turn.T).numpy())
    return (torch.from_numpy(middle) @ turn).float(), scale
