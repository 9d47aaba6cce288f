"""Marching cubes (PyMCubes), block by block, without cracks.

Neighbouring blocks read the same values at the nodes between them, so their triangles meet in the same points; a vertex
is known by the grid edge on which it lies, and vertices of one edge are made one. The result is the dense one, whatever
the order of its rows.
"""

from __future__ import annotations

import mcubes
import numpy as np

from ..field.density_sampling import SampledDensity

# A little above 1/2, between two float32 numbers: no node lies on it, which would put several vertices in one place.
_HALF = 0.5 + 2.0**-26


def marching_cubes(sampled: SampledDensity, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The level set as vertices [V, 3] float64 in [-1, 1]^3 and faces [F, 3] int64, closed, looking outward.

    Density is first clipped to min(density / (2 level), 1): the surface stays the same, but values run evenly from 0
    (air) over 1/2 (the surface) to 1 (solid) instead of to some hundred. Outside the box there is air, so that a
    surface that meets the box is closed half a grid step outside of it.
    """
    resolution = len(sampled.density)
    points, triangles, count = [], [], 0
    for block in sampled.blocks():
        density = sampled.density[block]
        shell = [(int(part.start == 0), int(part.stop == resolution)) for part in block]
        closed = any(map(any, shell))
        if density.max() < level or (density.min() > level * 1.001 and not closed):
            continue
        solid = np.minimum(density * np.float32(0.5 / level), 1).astype(np.float64)
        vertices, faces = mcubes.marching_cubes(np.pad(solid, shell) if closed else solid, _HALF)
        points.append(vertices + [part.start - side[0] for part, side in zip(block, shell, strict=True)])
        triangles.append(faces.astype(np.int64) + count)
        count += len(vertices)
    if count == 0:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    nodes = np.concatenate(points)
    _, first, index = np.unique(_grid_edges(nodes, resolution), return_index=True, return_inverse=True)
    vertices, faces = nodes[first], index.reshape(-1)[np.concatenate(triangles)]
    vertices, faces = _open_pinched_edges(vertices, faces)
    return vertices * (2 / (resolution - 1)) - 1, faces


def _open_pinched_edges(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where two sheets of the surface share an edge, put a new vertex into the middle of one sheet's.

    In ambiguous cells the table may join two vertices inside of both neighbouring cells. Four faces at an edge are
    closed, but no manifold, and later steps expect one.
    """
    while True:
        start = faces.reshape(-1)
        end = np.roll(faces, -1, axis=1).reshape(-1)
        keys = start * len(vertices) + end
        order = np.argsort(keys, kind="stable")
        repeated = np.flatnonzero(np.diff(keys[order]) == 0)
        if len(repeated) == 0:
            return vertices, faces
        edges = order[repeated + 1]
        _, once = np.unique(keys[edges], return_index=True)
        touched: set[int] = set()
        middles, added = [], []
        faces = faces.copy()
        for edge in edges[once].tolist():
            a, b = int(start[edge]), int(end[edge])
            back = order[np.searchsorted(keys[order], b * len(vertices) + a, side="right") - 1]
            pair = (edge // 3, int(back) // 3)
            # A face that was just cut waits for the next round, with its new corners.
            if touched & set(pair) or keys[back] != b * len(vertices) + a:
                continue
            touched |= set(pair)
            middle = len(vertices) + len(middles)
            middles.append((vertices[a] + vertices[b]) / 2)
            for face, end_corner in ((pair[0], b), (pair[1], a)):
                added.append([middle if v == (a + b - end_corner) else v for v in faces[face]])
                faces[face] = [middle if v == end_corner else v for v in faces[face]]
        vertices = np.concatenate([vertices, middles])
        faces = np.concatenate([faces, added])


def _grid_edges(nodes: np.ndarray, resolution: int) -> np.ndarray:
    """A number for the grid edge of each vertex [V, 3], given in grid steps; its lower node may be -1 (outside).

    Two coordinates are whole. The third is not, since no node lies on the level, and so says the edge's direction.
    """
    lower = np.floor(nodes).astype(np.int64)
    direction = (nodes - lower).argmax(axis=1)
    span = resolution + 2
    place = ((lower[:, 0] + 1) * span + lower[:, 1] + 1) * span + lower[:, 2] + 1
    return place * 3 + direction
