"""The detail that decimation took away, as a tangent-space normal map.

A viewer shades a texel along x T + y B + z N. N and T are the vertex normals and tangents (``tangents``), interpolated
across the face and, as MikkTSpace asks, not scaled back to unit length; B = w cross(N, T) points to growing v.
The map holds (x, y, z) of unit length as 8-bit (1 + value) / 2, +Y up as glTF and Blender read it.
"""

from __future__ import annotations

import numpy as np

from ..mesh.cleaning import normals_from, smooth_normals, unit
from ..mesh.raycasting import MISSED, MeshRays
from ..types import Mesh
from .tangents import vertex_tangents
from .texels import Texels, surface_texels

_LOWEST = 0.05  # z of a normal that leans away from the face: the map can only say "as flat as it goes"


def bake_normals(
    mesh: Mesh,
    fine: Mesh,
    *,
    size: int = 1024,
    reach: float = 0.03,
    chunk: int = 262_144,
    texels: Texels | None = None,
) -> Mesh:
    """Add the normals of a finer surface to an unwrapped mesh as its ``normal_map``.

    Each texel looks inwards along its normal, from ``reach`` outside to as far inside, and takes the normal of the
    first face of ``fine`` that it meets. Where it meets none, or the back of one, fine's nearest vertices decide.

    Args:
        mesh: unwrapped, near ``fine``'s surface.
        fine: with smooth normals; without uv.
        size: edge of the map, in texels.
        reach: how far the two surfaces may be apart, in the object's frame.
        chunk: texels at a time; bounds the memory.
        texels: those of ``surface_texels(mesh, size)``, if they are at hand.
    """
    texels = texels or surface_texels(mesh, size)
    rays = MeshRays(fine)
    tangents = vertex_tangents(mesh)
    codes = np.empty((len(texels), 3), np.uint8)
    for part in texels.pieces(chunk):
        points = texels.interpolate(mesh.vertices, mesh.faces, part)
        normals = texels.interpolate(mesh.normals, mesh.faces, part)
        tangent = texels.interpolate(tangents, mesh.faces, part)
        seen = fine_normals(fine, rays, points, unit(normals), reach)
        codes[part] = encode(in_tangent_space(seen, normals, tangent))
    return mesh.with_(normal_map=texels.picture(codes))


def without_ripples(fine: Mesh, cell: float) -> Mesh:
    """The surface with normals that are averaged over one cell of the grid it was found in.

    Level sets of interpolated grids bend at every cell. Smaller details there are none, but ripples that a light shows.
    """
    return fine.with_(normals=smooth_normals(fine.vertices, fine.faces, fine.normals, cell))


def fine_normals(
    fine: Mesh, rays: MeshRays, points: np.ndarray, normals: np.ndarray, reach: float
) -> np.ndarray:
    """Unit normals [N, 3] float32 of ``fine`` at points [N, 3] near it, seen along unit normals [N, 3] from outside.

    rays: those of ``fine``.
    """
    hits = rays.first_hits(points + np.float32(reach) * normals, -normals, 2 * reach)
    corners = fine.faces[hits.face]
    a, b, c = (fine.vertices[corners[:, k]] for k in range(3))
    towards = np.einsum("nk,nk->n", np.cross(b - a, c - a), normals) > 0
    seen = np.einsum("nk,nkc->nc", hits.weights, fine.normals[corners])
    lost = (hits.face == MISSED) | ~towards
    if lost.any():
        seen[lost] = normals_from(fine.vertices, fine.normals, points[lost], normals[lost])
    return unit(seen)


def in_tangent_space(directions: np.ndarray, normals: np.ndarray, tangents: np.ndarray) -> np.ndarray:
    """Unit (x, y, z) [N, 3] with x T + y B + z N along ``directions`` [N, 3].

    normals [N, 3] and tangents [N, 4], w last, as interpolated, of any length. Directions that lean away from the
    normal come out as flat as the map can say.
    """
    tangent, sign = tangents[:, :3], np.where(tangents[:, 3:] < 0, np.float32(-1), np.float32(1))
    bitangent = sign * np.cross(normals, tangent)
    # Cramer's rule: the columns of the inverse are cross products, up to a common factor, whose sign is that of w.
    parts = [np.cross(bitangent, normals), np.cross(normals, tangent), np.cross(tangent, bitangent)]
    local = sign * np.stack([np.einsum("nk,nk->n", directions, part) for part in parts], 1)
    local = unit(local)
    across = np.linalg.norm(local[:, :2], axis=1)
    low = local[:, 2] < _LOWEST
    shrink = np.sqrt(1 - _LOWEST**2) / np.maximum(across[low], 1e-12)
    local[low, :2] *= shrink[:, None]
    local[low, 2] = _LOWEST
    return unit(local)


def encode(normals: np.ndarray) -> np.ndarray:
    """Unit vectors [N, 3] as 8-bit colours: (1 + value) / 2 of 255, rounded."""
    return np.floor(normals * 127.5 + 128).clip(0, 255).astype(np.uint8)
