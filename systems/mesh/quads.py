"""Triangles paired into quads, for people who go on modelling: loops can be selected, subdivision is smoother.

Nothing moves. A quad (a, b, c, d) stands for the triangles (a, b, c) and (a, c, d), which are two of the mesh's own, so
a program that cuts it along its first diagonal, as Blender does, gets the very same surface back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..types import Mesh
from .cleaning import face_normals, unit
from .report import edge_pairs

BEND_RAD = math.radians(10)
"""Largest angle between the normals of two triangles that become one quad."""
_SINE = 0.3  # of the smallest corner; the largest is as far from 180 degrees as this one from 0
_SINE_UV = 0.1


@dataclass(frozen=True)
class Polygons:
    """The faces of a mesh: quads [Q, 4] and the triangles left alone [T, 3]; int32 vertices, counter-clockwise."""

    quads: np.ndarray
    triangles: np.ndarray

    def __len__(self) -> int:
        return len(self.quads) + len(self.triangles)

    @property
    def corners(self) -> np.ndarray:
        """The vertices of all faces in one row, quads first, [4 Q + 3 T] int32."""
        return np.concatenate([self.quads.reshape(-1), self.triangles.reshape(-1)])

    @property
    def sizes(self) -> np.ndarray:
        """How many corners each face has, [Q + T] int32."""
        return np.repeat(np.array([4, 3], np.int32), [len(self.quads), len(self.triangles)])


def polygons(mesh: Mesh, *, quads: bool) -> Polygons:
    """The faces as they are to be written: as triangles, or paired by ``pair_triangles``."""
    if quads:
        return pair_triangles(mesh)
    return Polygons(np.zeros((0, 4), np.int32), mesh.faces.astype(np.int32))


def pair_triangles(mesh: Mesh, *, bend_rad: float = BEND_RAD) -> Polygons:
    """Pair neighbouring triangles, the squarest and flattest pairs first; each triangle is used once.

    Two triangles are neighbours if they share two vertices. Seams of the atlas and creases, where vertices are doubled
    because their uv or normals differ, are therefore never crossed. A pair must be convex with room to spare, on the
    surface and in the atlas, and bent by at most ``bend_rad``.
    """
    pair, quads = _candidates(mesh.faces)
    points = mesh.vertices.astype(np.float64)
    # Both triangles' normals, in the order of ``pair``.
    normal = unit(face_normals(points, mesh.faces))
    bend = np.arccos(np.einsum("ek,ek->e", normal[pair[:, 0]], normal[pair[:, 1]]).clip(-1, 1))
    sine, cosine = _corners(points[quads], unit(normal[pair[:, 0]] + normal[pair[:, 1]]))
    fits = (bend <= bend_rad) & (sine > _SINE).all(1)
    if mesh.uv is not None:
        flat = np.concatenate([mesh.uv, np.zeros((len(mesh.uv), 1), np.float32)], 1).astype(np.float64)
        upwards = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (len(quads), 3))
        in_atlas = _corners(flat[quads], upwards)[0]
        fits &= (np.abs(in_atlas) > _SINE_UV).all(1) & (np.abs(np.sign(in_atlas).sum(1)) == 4)
    score = np.abs(cosine).mean(1) + bend
    best = np.flatnonzero(fits)[np.argsort(score[fits], kind="stable")]
    chosen = _greedy(pair[best], len(mesh.faces))
    alone = np.ones(len(mesh.faces), bool)
    alone[pair[best[chosen]].reshape(-1)] = False
    return Polygons(quads[best[chosen]].astype(np.int32), mesh.faces[alone].astype(np.int32))


def _candidates(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every two triangles with a common edge: their numbers [E, 2] and the quad that they would be [E, 4]."""
    edge, twin = edge_pairs(faces)
    start = faces.reshape(-1)
    # The corner that the edge from each corner does not touch.
    opposite = np.roll(faces, -2, axis=1).reshape(-1)
    quads = np.stack([start[edge], opposite[twin], start[twin], opposite[edge]], 1)
    # Two triangles back to back share all three vertices and are no quad.
    whole = quads[:, 1] != quads[:, 3]
    return np.stack([edge // 3, twin // 3], 1)[whole], quads[whole]


def _corners(points: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine (negative where the corner is hollow) and cosine of each corner's angle: points [E, 4, 3] -> two [E, 4]."""
    forward = unit(np.roll(points, -1, axis=1) - points)
    backward = -np.roll(forward, 1, axis=1)
    sine = np.einsum("eck,ek->ec", np.cross(forward, backward), normal)
    return sine, np.einsum("eck,eck->ec", forward, backward)


def _greedy(pair: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the pairs that are taken, in order, as long as both their triangles are free."""
    free, taken = [True] * count, []
    for number, (a, b) in enumerate(pair.tolist()):
        if free[a] and free[b]:
            free[a] = free[b] = False
            taken.append(number)
    return np.array(taken, np.int64)
