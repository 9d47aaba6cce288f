"""The base colour of one mesh on another of nearly the same surface: what levels of detail are painted with."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import KDTree

from ..mesh.cleaning import unit
from ..mesh.raycasting import MISSED, MeshRays
from ..types import Mesh
from .lookup import mip_level, sample_texture
from .texels import surface_texels

_REACH = (
    0.06  # how far the surfaces may be apart, in the object's frame; farther off, the nearest vertex decides
)


def bake_from(source: Mesh, mesh: Mesh, *, size: int, chunk: int = 262_144) -> Mesh:
    """Paint an unwrapped mesh with the base colour of ``source``.

    Each texel looks inwards along its normal and takes the colour of the first face of ``source`` that it meets; from
    a texture with larger texels, colours are means over as large ones.

    Args:
        source: with uv and texture.
        mesh: unwrapped, with normals, near the source's surface.
        size: edge of the new texture, in texels.
        chunk: texels at a time; bounds the memory.
    """
    if source.uv is None or source.texture is None:
        raise ValueError("bake_from needs a source with uv and texture")
    texture = mip_level(source.texture, max(0, round(math.log2(source.texture.shape[0] / size))))
    texels, rays, nearest = surface_texels(mesh, size), MeshRays(source), KDTree(source.vertices)
    colours = np.empty((len(texels), 3), np.float32)
    for part in texels.pieces(chunk):
        points = texels.interpolate(mesh.vertices, mesh.faces, part).astype(np.float32)
        normals = unit(texels.interpolate(mesh.normals, mesh.faces, part)).astype(np.float32)
        hits = rays.first_hits(points + np.float32(_REACH) * normals, -normals, 2 * _REACH)
        uv = np.einsum("nk,nkc->nc", hits.weights, source.uv[source.faces[hits.face]])
        missed = hits.face == MISSED
        if missed.any():
            uv[missed] = source.uv[nearest.query(points[missed])[1]]
        colours[part] = sample_texture(texture, uv)
    return mesh.with_(texture=(texels.picture(colours) * 255 + 0.5).clip(0, 255).astype(np.uint8))
