"""Where an object stands and how large it is: on the ground, in metres; and back into view for pictures of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...configs.errors import SlipcastError
from ...systems.types import Mesh

_IN_VIEW = 1.1
"""Radius of a ball round the origin that every orbit camera sees whole: 4.5 sin(15 degrees) is 1.16."""


@dataclass(frozen=True)
class Placement:
    """A move and a uniform scale: a point p [3] of the object's frame comes to (p - origin) * scale."""

    origin: np.ndarray
    scale: float

    def of(self, mesh: Mesh) -> Mesh:
        """The mesh at its new place."""
        # In float64 until the end, so that the base comes out at exactly 0 and each coordinate is rounded once.
        vertices = (mesh.vertices.astype(np.float64) - self.origin) * self.scale
        return mesh.with_(vertices=vertices.astype(np.float32))


def placement(mesh: Mesh, height_m: float | None = None) -> Placement:
    """What brings the mesh into metres, the middle of its base to the origin: z starts at 0, x and y are centred.

    The middle is that of the bounding box, handles and spouts included. The scale is uniform and nothing is turned, so
    the normals stay as they are, bit for bit.

    Args:
        mesh: in the object's frame, +Z up.
        height_m: extent along z afterwards; None takes one unit for one metre.

    Raises:
        SlipcastError: an empty mesh, coordinates that are not finite, or a flat mesh that should be of some height.
    """
    low, high = _bounds(mesh)
    scale = 1.0
    if height_m is not None:
        if not high[2] > low[2]:
            raise SlipcastError(f"a flat mesh cannot be made {height_m:g} m high; leave export.height_m out")
        scale = height_m / (high[2] - low[2])
    origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    return Placement(origin, float(scale))


def place(mesh: Mesh, height_m: float | None = None) -> Mesh:
    """The mesh in metres on the ground, at its own ``placement``."""
    return placement(mesh, height_m).of(mesh)


def into_view(mesh: Mesh) -> Mesh:
    """The mesh centred at the origin, as large as the cameras of ``systems.field.cameras`` just see from all sides."""
    return view_placement(mesh).of(mesh)


def view_placement(mesh: Mesh) -> Placement:
    """What ``into_view`` does to a mesh."""
    low, high = _bounds(mesh)
    centre = (low + high) / 2
    radius = np.linalg.norm(mesh.vertices.astype(np.float64) - centre, axis=1).max()
    return Placement(centre, _IN_VIEW / radius if radius > 0 else 1.0)


def _bounds(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest corner, float64 [3] each."""
    if len(mesh.vertices) == 0 or len(mesh.faces) == 0:
        raise SlipcastError("the mesh is empty, so there is nothing to export; run the mesh stage again")
    if not (np.isfinite(mesh.vertices).all() and np.isfinite(mesh.normals).all()):
        raise SlipcastError("the mesh has coordinates that are not finite; run the mesh stage again")
    return mesh.vertices.min(0).astype(np.float64), mesh.vertices.max(0).astype(np.float64)
