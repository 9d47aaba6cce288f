"""An object of the starter's generator as a mesh file: its triangles, cut small, and its own colours without any light.

PLY has +Z up and the front along -Y, which is the generator's frame.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from slipcast.starter.generator.objects import GeneratedObject
from slipcast.starter.generator.volume import surface_samples

LONGEST_EDGE = 0.02
"""Of the box from -1 to 1, which a picture of 128 px sees as about one pixel."""
_SAMPLES = 200_000


def write_true_mesh(thing: GeneratedObject, path: Path) -> Path:
    """Write a PLY with a colour at each corner (sRGB, the albedo); its absolute path."""
    import trimesh
    from scipy.spatial import KDTree

    vertices, faces, *_ = trimesh.remesh.subdivide_to_size(
        thing.vertices.astype(np.float64), thing.faces, LONGEST_EDGE, max_iter=20
    )
    points, colours = surface_samples(thing, np.random.default_rng(0), n=_SAMPLES)
    _, nearest = KDTree(points.astype(np.float64)).query(vertices)
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh = trimesh.Trimesh(vertices, faces, vertex_colors=colours[nearest], process=False)
    mesh.export(path)
    return path.resolve()
