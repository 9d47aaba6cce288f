"""Fewer faces, the same closed surface."""

from __future__ import annotations

import fast_simplification
import numpy as np

from .cleaning import compact, keep_large_components
from .collapse import collapse_edges
from .pinches import open_pinches
from .report import euler_number, is_outward, is_watertight, signed_volume

MAX_FACES = 60_000
MISSED = 1.1
"""Times the wanted faces, beyond which a mesh has missed its target."""
_VOLUME_TOLERANCE = 0.02
_AGGRESSIVENESS = (5.0, 7.0)  # fast-simplification's: lower is slower and keeps more detail
_SHRED = 1e-4  # of the largest piece's volume: what a pinch has cut off


def decimate(vertices: np.ndarray, faces: np.ndarray, target_faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Quadric decimation to ``target_faces`` that keeps the mesh closed and outward, and its genus if that can be.

    fast-simplification may pinch thin parts into edges with four faces, which are opened again (``pinches``), or close
    a narrow handle. Its result is taken if it is closed, of the same genus, and (2 %) of the same volume. Else slower
    collapses follow that cannot break anything (``collapse``); they stop above the target only where each further one
    would change the genus. Then a result of fast-simplification that has lost a handle may be taken.
    """
    if len(faces) <= target_faces:
        return vertices, faces
    euler, volume = euler_number(faces), signed_volume(vertices, faces)
    fewest = None
    for aggressiveness in _AGGRESSIVENESS:
        points, triangles = _simplified(vertices, faces, target_faces, aggressiveness)
        same_volume = abs(signed_volume(points, triangles) - volume) <= _VOLUME_TOLERANCE * abs(volume)
        closed = same_volume and is_watertight(triangles) and is_outward(points, triangles)
        if not closed or len(triangles) > target_faces:
            continue
        if euler_number(triangles) == euler:
            return points, triangles
        fewest = fewest or (points, triangles)
    collapsed = collapse_edges(vertices, faces, target_faces)
    return collapsed if fewest is None or len(collapsed[1]) <= target_faces else fewest


def _simplified(
    vertices: np.ndarray, faces: np.ndarray, count: int, aggressiveness: float
) -> tuple[np.ndarray, np.ndarray]:
    reduced = fast_simplification.simplify(
        vertices.astype(np.float64), faces.astype(np.int32), target_count=count, agg=aggressiveness
    )
    points, triangles = compact(reduced[0], reduced[1].astype(np.int64))
    if len(triangles) == 0 or is_watertight(triangles):
        return points, triangles
    return keep_large_components(*open_pinches(points, triangles), _SHRED)
