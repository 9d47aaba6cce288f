"""Fewer faces, the same closed surface."""

from __future__ import annotations

import fast_simplification
import numpy as np

from .cleaning import compact, keep_large_components
from .pinches import open_pinches
from .report import euler_number, is_outward, is_watertight, signed_volume

MAX_FACES = 60_000
_VOLUME_TOLERANCE = 0.02
# (multiple of the target, fast-simplification's aggressiveness): lower is slower and keeps more detail.
_ATTEMPTS = ((1.0, 5.0), (1.0, 7.0), (1.6, 5.0), (2.5, 5.0))
_SHRED = 1e-4  # of the largest piece's volume: what a pinch has cut off


def decimate(vertices: np.ndarray, faces: np.ndarray, target_faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Quadric decimation to about ``target_faces`` that keeps the mesh closed, outward and (2 %) its volume.

    fast-simplification may pinch thin parts into edges with four faces, which are opened again (``pinches``), or close
    a narrow handle. Each result is therefore checked, and other settings and higher targets are tried. The first one of
    the same genus wins, else the first closed one; if there is none, the input comes back.
    """
    if len(faces) <= target_faces:
        return vertices, faces
    euler, volume = euler_number(faces), signed_volume(vertices, faces)
    closed = None
    for factor, aggressiveness in _ATTEMPTS:
        count = int(target_faces * factor)
        if count >= len(faces) or count > max(MAX_FACES, target_faces):
            break
        points, triangles = _simplified(vertices, faces, count, aggressiveness)
        same_volume = abs(signed_volume(points, triangles) - volume) <= _VOLUME_TOLERANCE * abs(volume)
        if not (same_volume and is_watertight(triangles) and is_outward(points, triangles)):
            continue
        if euler_number(triangles) == euler:
            return points, triangles
        closed = closed or (points, triangles)
    return closed or (vertices, faces)


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
