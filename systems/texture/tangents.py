"""Tangents for normal maps, as MikkTSpace defines them (mikktspace.com), which glTF, Blender and most bakers share."""

from __future__ import annotations

import numpy as np

from ..types import Mesh


def vertex_tangents(mesh: Mesh) -> np.ndarray:
    """Tangents with the sign of the bitangent, [V, 4] float32: bitangent = w cross(normal, tangent), along v upwards.

    MikkTSpace's rule: at each corner the triangle's tangent is laid into the plane of the normal, and the corners that
    share position, normal, uv and handedness are averaged by their angles. Its vertices come out here one for one, as
    long as no vertex is shared by triangles of both handednesses; there the larger angle wins.
    """
    if mesh.uv is None:
        raise ValueError("tangents need a mesh with uv")
    normals = mesh.normals.astype(np.float64)
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    uv = mesh.uv.astype(np.float64)[mesh.faces]
    area = _cross2(uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0])
    along_u = (uv[:, 2, 1] - uv[:, 0, 1])[:, None] * (corners[:, 1] - corners[:, 0])
    along_u -= (uv[:, 1, 1] - uv[:, 0, 1])[:, None] * (corners[:, 2] - corners[:, 0])
    along_u *= np.sign(area)[:, None]
    # Vertices that are doubled without need are one to MikkTSpace.
    keys = np.concatenate([mesh.vertices, mesh.normals, mesh.uv], 1)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.reshape(-1)
    total = np.zeros((group.max() + 1, 2, 3))  # by handedness: mirrored, ordinary
    angles = np.zeros((len(total), 2))
    for k in range(3):
        vertex = mesh.faces[:, k]
        normal = normals[vertex]
        to_next = _in_plane(corners[:, (k + 1) % 3] - corners[:, k], normal)
        to_last = _in_plane(corners[:, (k + 2) % 3] - corners[:, k], normal)
        angle = np.arccos(np.einsum("fk,fk->f", to_next, to_last).clip(-1, 1)) * (area != 0)
        hand = (area > 0).astype(int)
        np.add.at(total, (group[vertex], hand), angle[:, None] * _in_plane(along_u, normal))
        np.add.at(angles, (group[vertex], hand), angle)
    hand = angles.argmax(axis=1)
    tangents = _in_plane(total[np.arange(len(total)), hand][group], normals)
    empty = np.linalg.norm(tangents, axis=1) < 0.5
    tangents[empty] = _any_across(normals[empty])
    return np.concatenate([tangents, np.where(hand[group] == 1, 1.0, -1.0)[:, None]], 1).astype(np.float32)


def _in_plane(vectors: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """The part of each vector across its normal, of unit length; zero where there is none."""
    across = vectors - np.einsum("nk,nk->n", vectors, normals)[:, None] * normals
    length = np.linalg.norm(across, axis=1, keepdims=True)
    # Lengths of atlas gradients may be tiny, so only what is lost in rounding counts as none.
    return across / np.where(length > 1e-30, length, np.inf)


def _any_across(normals: np.ndarray) -> np.ndarray:
    """Some unit vector across each normal: from the axis that lies furthest from it."""
    axes = np.eye(3)[np.abs(normals).argmin(axis=1)]
    return _in_plane(axes, normals)


def _cross2(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
