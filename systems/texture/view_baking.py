"""Base colour from views all round: each texel shows what those cameras see of it that nothing hides it from.

Paint that lies in a field's skin looks a little different from every side. Along the normal (``colour_baking.bake``) a
texel gets one of these looks, here the mean of all, weighted as a picture's pixels are: with the cosine between the
normal and the way to the camera. What is hidden, Embree says (``raycasting``).
"""

from __future__ import annotations

import math

import numpy as np

from ...configs.errors import BadInput
from ..field.cameras import Camera, orbit_camera
from ..mesh.cleaning import unit
from ..mesh.raycasting import MeshRays
from ..types import Mesh, RadianceField
from .colour_baking import surface_colors
from .texels import Texels

_LOWEST, _HIGHEST = math.sin(math.radians(-30)), math.sin(math.radians(70))
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
GRAZING = 0.1
"""Cosine below which a view says little about a texel and much about its neighbours."""
_CLEARANCE = (
    0.004  # of a ray's start above its texel: an eighth of a cell of a 64-cell grid, above all facets
)
_FAR = 10.0


def bake_views(
    mesh: Mesh, field: RadianceField, texels: Texels, *, views: int = 24, chunk: int = 262_144
) -> Mesh:
    """Paint an unwrapped mesh with what ``views`` cameras see of the field; texels that none sees, along their normals.

    Args:
        mesh: near the field's surface, with normals.
        texels: those of ``surface_texels(mesh, size)``.
        views: cameras, evenly spread over all sides from 30 degrees below to 70 above.
        chunk: texels at a time; bounds the memory.
    """
    if views < 1:
        raise BadInput(f"painting from views needs at least 1 view, not {views}")
    tracer, cameras = MeshRays(mesh), spread_cameras(views)
    colors = np.empty((len(texels), 3), np.float32)
    for part in texels.pieces(chunk):
        points = texels.interpolate(mesh.vertices, mesh.faces, part).astype(np.float32)
        normals = unit(texels.interpolate(mesh.normals, mesh.faces, part)).astype(np.float32)
        colors[part] = _seen(field, tracer, cameras, points, normals)
    return mesh.with_(texture=(texels.picture(colors) * 255 + 0.5).clip(0, 255).astype(np.uint8))


def spread_cameras(count: int) -> list[Camera]:
    """Cameras round the object, evenly in azimuth (golden angle) and in the sine of the elevation."""
    heights = [_LOWEST + (_HIGHEST - _LOWEST) * (k + 0.5) / count for k in range(count)]
    return [orbit_camera(k * _GOLDEN_ANGLE, math.asin(height)) for k, height in enumerate(heights)]


def squarely_seen(
    tracer: MeshRays, camera: Camera, points: np.ndarray, normals: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which surface points [N, 3] with unit normals [N, 3] nothing hides from a camera, and how squarely it sees them.

    Returns: their rows [K], and the cosine [K] between the normal and the way to the camera; grazed ones are left out.
    """
    towards = _towards(camera, points)
    cosine = np.einsum("nk,nk->n", towards, normals)
    faced = np.flatnonzero(cosine > GRAZING)
    starts = points[faced] + np.float32(_CLEARANCE) * normals[faced]
    faced = faced[~tracer.blocked(starts, towards[faced], _FAR)]
    return faced, cosine[faced]


def _towards(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Unit vectors [N, 3] float32 from points to a camera."""
    return unit(camera.position.numpy() - points).astype(np.float32)


def _seen(
    field: RadianceField, tracer: MeshRays, cameras: list[Camera], points: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """The weighted mean [N, 3] of what the cameras see at the points, else what is seen along the normal."""
    total, weight = np.zeros((len(points), 3), np.float32), np.zeros((len(points), 1), np.float32)
    for camera in cameras:
        faced, cosine = squarely_seen(tracer, camera, points, normals)
        towards, share = _towards(camera, points[faced]), cosine[:, None]
        total[faced] += share * surface_colors(field, points[faced], towards)
        weight[faced] += share
    unseen = weight[:, 0] == 0
    total[unseen], weight[unseen] = surface_colors(field, points[unseen], normals[unseen]), 1
    return total / weight
