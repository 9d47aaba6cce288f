"""How good a baked texture is: whether seams show, and whether the textured mesh looks like the field it came from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch

from ..field.cameras import Camera, orbit_camera, project
from ..field.volume_rendering import render_image
from ..mesh.rasterizer import EMPTY, interpolate, rasterize
from ..mesh.report import directed_edges, edge_pairs, merged
from ..types import Mesh, RadianceField
from .lookup import mip_level, sample_texture

_OPAQUE = 0.95
_PERFECT_DB = 99.0
_ELEVATIONS_DEG = (15.0, 45.0, -15.0)


@dataclass(frozen=True)
class SeamReport:
    """Differences across seams in 8-bit steps, the largest of the three channels; 0 without seams."""

    points: int
    median: float
    percentile_95: float

    def as_dict(self) -> dict[str, int | float]:
        """Plain values for JSON."""
        return asdict(self)


def seam_difference(mesh: Mesh, *, mip: int = 0, per_edge: int = 4) -> SeamReport:
    """The base colour on one side of every seam against that on the other, as a bilinear lookup sees both.

    A seam is an edge whose two faces lie apart in the atlas; each is looked at in ``per_edge`` points.

    mip: the level of the texture's mip-map that is looked at; 0 is the texture itself.
    """
    if mesh.uv is None or mesh.texture is None:
        raise ValueError("seam_difference needs a mesh with uv and texture")
    one, other = seams(mesh)
    if not len(one):
        return SeamReport(0, 0.0, 0.0)
    texture = mip_level(mesh.texture, mip)
    along = ((np.arange(per_edge) + 0.5) / per_edge)[None, :, None]
    sides = [
        sample_texture(texture, (ends[:, :1] * (1 - along) + ends[:, 1:] * along).reshape(-1, 2))
        for ends in (one, other)
    ]
    difference = 255 * np.abs(sides[0] - sides[1]).max(axis=1)
    median, high = np.percentile(difference, [50, 95])
    return SeamReport(len(difference), float(median), float(high))


def seams(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Edges along which the atlas is cut: the uv of both ends in one face and in the other, [S, 2, 2] each."""
    if mesh.uv is None:
        raise ValueError("seams needs a mesh with uv; call unwrap first")
    _, welded = merged(mesh.vertices, mesh.faces)
    edge, twin = edge_pairs(welded)
    start, end = directed_edges(mesh.faces)
    one = mesh.uv[np.stack([start[edge], end[edge]], 1)]
    # The twin runs the other way.
    other = mesh.uv[np.stack([end[twin], start[twin]], 1)]
    cut = (one != other).any(axis=(1, 2))
    return one[cut], other[cut]


def bake_psnr(
    mesh: Mesh, field: RadianceField, *, views: int = 8, size: int = 160, samples: int = 256
) -> float | None:
    """How alike the unshaded textured mesh and the field's own volume rendering are, in dB.

    PSNR of sRGB colours over all pixels of ``views`` cameras all round in which both are opaque: the field by more than
    95 %, its colour divided by its opacity; None if there are no such pixels. Both are seen through pixel centres.

    Args:
        size: edge of each picture, in pixels.
        samples: along each ray of the volume rendering; a field that does not know its empty space needs more.
    """
    squares, count = 0.0, 0
    for k in range(views):
        camera = orbit_camera(
            2 * math.pi * k / views, math.radians(_ELEVATIONS_DEG[k % len(_ELEVATIONS_DEG)])
        )
        rgb, opacity, _ = render_image(field, camera, size, samples=samples)
        seen, covered = base_colour_view(mesh, camera, size)
        both = covered & (opacity.numpy() > _OPAQUE)
        truth = (rgb / opacity[..., None].clamp_min(1e-6)).numpy()[both]
        squares += float(((seen[both].astype(np.float64) - truth) ** 2).sum())
        count += truth.size
    if count == 0:
        return None
    return min(_PERFECT_DB, -10 * math.log10(max(squares / count, 1e-12)))


def base_colour_view(mesh: Mesh, camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The base colour at each pixel's centre, [size, size, 3] in [0, 1], and where there is any, [size, size]."""
    if mesh.uv is None or mesh.texture is None:
        raise ValueError("base_colour_view needs a mesh with uv and texture")
    pixels, depth = project(camera, torch.as_tensor(mesh.vertices), size)
    face, weights = rasterize(pixels.numpy(), depth.numpy(), mesh.faces, size, size)
    covered = face != EMPTY
    picture = np.zeros((size, size, 3), np.float32)
    picture[covered] = sample_texture(mesh.texture, interpolate(mesh.uv, mesh.faces, face, weights))
    return picture, covered
