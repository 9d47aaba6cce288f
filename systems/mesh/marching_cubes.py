"""Marching cubes (PyMCubes), block by block, without cracks.

Neighbouring blocks read the same values at the nodes between them, so their triangles meet in the same points; a vertex
is known by the grid edge on which it lies, and vertices of one edge are made one. The result is the dense one, whatever
the order of its rows.
"""

from __future__ import annotations

import mcubes
import numpy as np

from ..field.density_sampling import SampledDensity

# A node on the level itself would put the vertices of all its edges in one place. It counts as air: a value between 1/2
# and the float32 number before it. (A level beside 1/2 does not do: PyMCubes rounds the level to float32.)
_BELOW_HALF = 0.5 - 2.0**-26


def solidity(density: np.ndarray, level: float) -> np.ndarray:
    """min(density / (2 level), 1): from 0 (air) over 1/2 (the surface) to 1 (solid) instead of to some hundred."""
    return np.minimum(density * np.float32(0.5 / level), 1)


def marching_cubes(sampled: SampledDensity, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The level set as vertices [V, 3] float64 in [-1, 1]^3 and faces [F, 3] int64, closed, looking outward.

    The level set of ``solidity`` at 1/2 is the same, but its values run evenly. Outside the box there is air, so that a
    surface that meets the box is closed half a grid step outside of it. Every edge has two faces: PyMCubes' table joins
    no two vertices twice, in one cell or in two neighbours.
    """
    resolution = len(sampled.density)
    points, triangles, count = [], [], 0
    for block in sampled.blocks():
        density = sampled.density[block]
        shell = [(int(part.start == 0), int(part.stop == resolution)) for part in block]
        closed = any(map(any, shell))
        if density.max() < level or (density.min() > level * 1.001 and not closed):
            continue
        solid = solidity(density, level).astype(np.float64)
        solid[solid == 0.5] = _BELOW_HALF
        vertices, faces = mcubes.marching_cubes(np.pad(solid, shell) if closed else solid, 0.5)
        points.append(vertices + [part.start - side[0] for part, side in zip(block, shell, strict=True)])
        triangles.append(faces.astype(np.int64) + count)
        count += len(vertices)
    if count == 0:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    nodes = np.concatenate(points)
    _, first, index = np.unique(_grid_edges(nodes, resolution), return_index=True, return_inverse=True)
    vertices, faces = nodes[first], index.reshape(-1)[np.concatenate(triangles)]
    return vertices * (2 / (resolution - 1)) - 1, faces


def _grid_edges(nodes: np.ndarray, resolution: int) -> np.ndarray:
    """A number for the grid edge of each vertex [V, 3], given in grid steps; its lower node may be -1 (outside).

    Two coordinates are whole. The third is not, since no node lies on the level, and so says the edge's direction.
    """
    lower = np.floor(nodes).astype(np.int64)
    direction = (nodes - lower).argmax(axis=1)
    span = resolution + 2
    place = ((lower[:, 0] + 1) * span + lower[:, 1] + 1) * span + lower[:, 2] + 1
    return place * 3 + direction
