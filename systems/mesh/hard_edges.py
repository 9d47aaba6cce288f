"""Sharp edges that look sharp: at a crease the normals of its two sides differ, so its vertices are doubled."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..types import Mesh
from .cleaning import face_normals, unit, vertex_normals
from .report import edge_pairs, next_corner


def split_creases(mesh: Mesh, crease_rad: float) -> Mesh:
    """Double vertices along edges where the two faces' normals differ by more than ``crease_rad``; 180 degrees: none.

    Around a vertex, faces that are joined by smooth edges share one normal: the mesh's own where all do, else the mean
    of their faces' normals with the corner angles as weights. An edge that ends in the open leaves its last vertex
    whole. Positions and faces' order do not change, so the mesh is as closed as it was, judged on welded positions.

    mesh: without uv or textures, every position once.
    """
    corners = mesh.faces.reshape(-1).astype(np.int64)
    first, second = _smooth_neighbours(mesh.vertices, mesh.faces, crease_rad)
    graph = coo_matrix((np.ones(len(first), bool), (first, second)), shape=(len(corners),) * 2)
    count, fan = connected_components(graph, directed=False)
    source = np.empty(count, np.int64)
    source[fan] = corners
    if count == len(mesh.vertices):
        return mesh
    vertices, faces = mesh.vertices[source], fan.reshape(-1, 3)
    normals = vertex_normals(vertices, faces)
    whole = np.bincount(source, minlength=len(mesh.vertices))[source] == 1
    normals[whole] = mesh.normals[source[whole]]
    return Mesh(vertices, faces.astype(np.int32), normals)


def _smooth_neighbours(
    vertices: np.ndarray, faces: np.ndarray, crease_rad: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of corners (numbered 3 face + k) of one vertex in two faces that meet at a smooth edge."""
    normal = unit(face_normals(vertices.astype(np.float64), faces))
    edge, twin = edge_pairs(faces)
    smooth = np.einsum("fk,fk->f", normal[edge // 3], normal[twin // 3]) >= np.cos(crease_rad) - 1e-9
    edge, twin = edge[smooth], twin[smooth]
    # start of one edge = end of its twin, and the other way round.
    return np.concatenate([edge, next_corner(edge)]), np.concatenate([next_corner(twin), twin])
