"""Ambient occlusion: how much of an evenly lit sky each point of a surface sees, and its place in an ORM map.

    AO(p) = 1/pi * integral over the hemisphere of V(p, d) cos(d, n) dd,   V = 0 where something is within ``distance``

(Zhukov et al. 1998; Landis 2002), by rays spread with the cosine's density: AO is then the share of free rays.
"""

from __future__ import annotations

import numpy as np

from ...configs.errors import BadInput
from ..compiled import compiled
from ..mesh.cleaning import unit
from ..mesh.raycasting import MeshRays, frames
from ..mesh.report import face_components
from ..types import Mesh
from .lookup import sample_texture
from .texels import LOOKUP_REACH, Texels, surface_texels

ROUGHNESS_UNKNOWN = 128
"""Green of the ORM map: a constant, which the export replaces by the roughness it assumes."""
_PHASES = 4  # of the ray pattern along both axes of the atlas
_GOLDEN, _PLASTIC = 0.6180339887498949, 0.7548776662466927  # turns that never line up, alone or together
# Of a ray's start above its face, in the object's frame: far above rounding, far below a texel.
_CLEARANCE = 2e-4


def bake_occlusion(
    mesh: Mesh,
    *,
    size: int = 1024,
    traced_size: int = 512,
    rays: int = 32,
    distance: float = 0.5,
    chunk: int = 262_144,
    texels: Texels | None = None,
) -> Mesh:
    """Add an ``orm`` map to an unwrapped mesh: occlusion, a constant ``ROUGHNESS_UNKNOWN``, metallic 0.

    Occlusion changes slowly, so it is traced on a smaller atlas and enlarged bilinearly.

    Args:
        size: edge of the map, in texels.
        traced_size: edge of the atlas that is traced; ``size`` if that is smaller.
        rays: per traced texel. Neighbours use 16 different patterns, over which the result is averaged inside charts,
            so that 32 rays count as 512.
        distance: what lies farther off, in the object's frame (the box is 2 wide), does not darken.
        chunk: rays at a time; bounds the memory.
        texels: those of ``surface_texels(mesh, size)``, if they are at hand.
    """
    if rays < 1 or not distance > 0:
        raise BadInput(f"occlusion needs at least 1 ray and a distance above 0, not {rays} and {distance}")
    texels = texels or surface_texels(mesh, size)
    # Beyond a face's edge the same is seen as at the edge: a wide rim would outvote the chart in each texel's mean.
    traced = surface_texels(mesh, min(traced_size, texels.size), rim=LOOKUP_REACH)
    share = trace_occlusion(mesh, traced, rays=rays, distance=distance, chunk=chunk)
    share = _enlarged(share, traced, texels)
    orm = np.zeros((len(texels), 3), np.uint8)
    orm[:, 0] = share * 255 + 0.5
    orm[:, 1] = ROUGHNESS_UNKNOWN
    return mesh.with_(orm=texels.picture(orm))


def trace_occlusion(mesh: Mesh, texels: Texels, *, rays: int, distance: float, chunk: int) -> np.ndarray:
    """The open share of the sky at each texel, [N] float32 in [0, 1]: 1 sees all of it."""
    tracer = MeshRays(mesh)
    share = np.empty(len(texels), np.float32)
    for part in texels.pieces(chunk):
        share[part] = _open_share(mesh, tracer, texels, part, rays, distance)
    return _averaged(share, texels, face_components(mesh.faces)[texels.face])


def _open_share(
    mesh: Mesh, tracer: MeshRays, texels: Texels, part: slice, rays: int, distance: float
) -> np.ndarray:
    """Rays that start just above the face and spread about the smooth normal.

    Those that dip below the face are not counted: they would see the face itself, which is round in truth.
    """
    normals = unit(texels.interpolate(mesh.normals, mesh.faces, part))
    a, b, c = (mesh.vertices[mesh.faces[texels.face[part], k]] for k in range(3))
    flat = unit(np.cross(b - a, c - a))
    # The rim continues the face beyond its edge, where the air or another face may be.
    inside = np.maximum(texels.weights[part], 0)
    inside /= inside.sum(axis=1, keepdims=True)
    start = np.einsum("nk,knc->nc", inside, np.stack([a, b, c])) + np.float32(_CLEARANCE) * flat
    across, along = frames(normals)
    row, column = texels.index[part] // texels.size, texels.index[part] % texels.size
    phase = (row % _PHASES * _PHASES + column % _PHASES).astype(np.float32)
    free, counted = np.zeros(len(start), np.float32), np.zeros(len(start), np.float32)
    for k in range(rays):
        squared = (k + (phase + 0.5) / _PHASES**2) / rays
        angle = 2 * np.pi * (k * _GOLDEN + phase * np.float32(_PLASTIC))
        x, y = np.sqrt(squared) * np.cos(angle), np.sqrt(squared) * np.sin(angle)
        height = np.sqrt(1 - squared)
        direction = x[:, None] * across + y[:, None] * along + height[:, None] * normals
        above = np.einsum("nk,nk->n", direction, flat) > 0
        counted += above
        free += above & ~tracer.blocked(start, direction, distance)
    return np.where(counted > 0, free / np.maximum(counted, 1), 1).astype(np.float32)


def _enlarged(share: np.ndarray, traced: Texels, texels: Texels) -> np.ndarray:
    """Values [N] of the traced texels, looked up bilinearly at the centres of the same or a larger atlas's, [M]."""
    row, column = texels.index // texels.size, texels.index % texels.size
    uv = np.stack([column + 0.5, texels.size - 0.5 - row], 1) / texels.size
    picture = traced.picture((share[:, None] * 255 + 0.5).astype(np.uint8))
    return sample_texture(np.repeat(picture, 3, axis=2), uv)[:, 0]


def _averaged(share: np.ndarray, texels: Texels, chart: np.ndarray) -> np.ndarray:
    """Each texel's mean with its neighbours in the same chart [N], in which every ray pattern counts alike."""
    values = np.zeros(texels.size**2, np.float32)
    charts = np.full(texels.size**2, -1, np.int32)
    values[texels.index], charts[texels.index] = share, chart
    square = (texels.size, texels.size)
    values, charts = values.reshape(square), charts.reshape(square)
    values = _average_rows(_average_rows(values, charts).T, charts.T).T
    return np.ascontiguousarray(values).reshape(-1)[texels.index]


@compiled()
def _average_rows(values, charts):
    """Half, one, one, one, half: five texels wide, yet four of weight, so that each phase has weight one."""
    out = np.zeros_like(values)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if charts[i, j] < 0:
                continue
            total, weight = np.float32(0), np.float32(0)
            for step in range(-2, 3):
                other = j + step
                if 0 <= other < values.shape[1] and charts[i, other] == charts[i, j]:
                    share = np.float32(0.5) if abs(step) == 2 else np.float32(1)
                    total += share * values[i, other]
                    weight += share
            out[i, j] = total / weight
    return out
