"""Rays against a triangle mesh, by Intel's Embree: what a ray meets first, and whether it meets anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..types import Mesh

# Right-handed; no usual surface looks along minus _START, the one direction round which the frames below turn fast.
_FIRST, _SECOND, _START = np.array([[0.8, -0.6, 0.0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]], np.float32)

MISSED = -1
"""Face index of a ray that meets nothing."""


@dataclass(frozen=True)
class Hits:
    """face [N] int32 or ``MISSED``; weights [N, 3] float32 of its corners, summing to 1, meaningless where missed."""

    face: np.ndarray
    weights: np.ndarray


class MeshRays:
    """A mesh made ready for rays. Faces are met from both sides."""

    def __init__(self, mesh: Mesh) -> None:
        # Imported late: only baking needs it.
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._scene = EmbreeScene()
        vertices, faces = mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)
        self._mesh = TriangleMesh(self._scene, vertices, faces)

    def first_hits(self, origins: np.ndarray, directions: np.ndarray, length: float) -> Hits:
        """The nearest face within ``length`` along each ray; origins and unit directions [N, 3]."""
        told = self._scene.run(*_rays(origins, directions, length), output=1)
        u, v = told["u"], told["v"]
        return Hits(told["primID"], np.stack([1 - u - v, u, v], 1))

    def blocked(self, origins: np.ndarray, directions: np.ndarray, length: float) -> np.ndarray:
        """Whether each ray meets a face within ``length``, [N] bool."""
        return self._scene.run(*_rays(origins, directions, length), query="OCCLUDED") != MISSED


def frames(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors [N, 3] across each unit normal [N, 3] and each other; they turn slowly from normal to normal.

    Those of one fixed direction, carried along by the shortest rotation that takes it to the normal.
    """
    middle = _START + normals
    scale = middle / np.maximum(1 + normals @ _START, np.float32(1e-6))[:, None]
    return _FIRST - (normals @ _FIRST)[:, None] * scale, _SECOND - (normals @ _SECOND)[:, None] * scale


def _rays(
    origins: np.ndarray, directions: np.ndarray, length: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    limits = np.full(len(origins), length, np.float32)
    return np.ascontiguousarray(origins, np.float32), np.ascontiguousarray(directions, np.float32), limits
