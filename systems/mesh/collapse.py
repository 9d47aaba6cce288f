"""Edge collapses by quadric error that never change what a closed surface is: no hole, no pinch, no handle lost.

Garland & Heckbert, "Surface Simplification Using Quadric Error Metrics" (SIGGRAPH 1997): each vertex carries the summed
squared distances to its faces' planes, and the edge whose collapse costs least goes first. An edge goes only if the
link condition holds (Dey et al. 1999): its ends have two neighbours in common and nothing else. The result is then
homeomorphic to the input, closed and oriented, whatever the count.
"""

from __future__ import annotations

import heapq
import math

import numpy as np

from ..compiled import compiled
from .cleaning import compact, face_normals, unit
from .report import directed_edges, is_outward

_LEVEL = 1e-3  # weight of staying near the edge's middle: decides where a flat surface leaves the place open
# How far a collapse may turn a face (cosine), and how thin it may make it (4 sqrt(3) area / sum of squared edges).
# What is left when no such edge is left may go by the second pair: still closed, less pretty.
_STRICT, _LOOSE = (0.2, 0.05), (-0.5, 0.005)


def collapse_edges(
    vertices: np.ndarray, faces: np.ndarray, target_faces: int
) -> tuple[np.ndarray, np.ndarray]:
    """Collapse edges until at most ``target_faces`` are left, or until each further one would change the topology.

    Args:
        vertices: [V, 3].
        faces: [F, 3], closed and oriented; each connected piece stays, with at least four faces.

    Returns:
        Vertices [W, 3] float64 and faces [G, 3] int64.
    """
    points, triangles = vertices.astype(np.float64), faces.astype(np.int64)
    for turn, thinness in (_STRICT, _LOOSE):
        count = max(target_faces, 1)
        while count < len(triangles):
            start, end = directed_edges(triangles)
            once = start < end
            edges = np.stack([start[once], end[once]], 1)
            quadrics = _quadrics(points, triangles)
            fewer = compact(*_collapse(points, triangles, quadrics, edges, count, turn, thinness))
            if is_outward(*fewer):
                points, triangles = fewer
                break
            count *= 2  # so few that a piece has turned inside out
    return points, triangles


@compiled()
def _collapse(vertices, faces, quadrics, edges, target, turn, thinness):
    """The faces left, [G, 3], and the vertices, moved."""
    points, corners = vertices.copy(), faces.copy()
    alive = np.ones(len(corners), np.bool_)
    first, last, following = _chains(len(points), corners)
    stamp = np.zeros(len(points), np.int64)
    mark = np.full(len(points), -1, np.int64)
    place = np.empty(3)
    heap = [(0.0, np.int64(0), np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    for k in range(len(edges)):
        u, v = edges[k, 0], edges[k, 1]
        heap.append((_cost(points, quadrics, u, v, place), u, v, np.int64(0), np.int64(0)))
    heapq.heapify(heap)
    left, round_ = len(corners), np.int64(0)
    while left > target and len(heap):
        _, u, v, stamp_u, stamp_v = heapq.heappop(heap)
        if stamp[u] != stamp_u or stamp[v] != stamp_v:
            continue
        round_ += 1
        if not _link_condition(corners, alive, first, following, mark, round_, u, v):
            continue
        _cost(points, quadrics, u, v, place)
        if not (
            _keeps_shape(points, corners, alive, first, following, u, v, place, turn, thinness)
            and _keeps_shape(points, corners, alive, first, following, v, u, place, turn, thinness)
        ):
            continue
        corner = first[v]
        while corner >= 0:
            face = corner // 3
            if alive[face]:
                if corners[face, 0] == u or corners[face, 1] == u or corners[face, 2] == u:
                    alive[face] = False
                    left -= 1
                else:
                    corners[face, corner % 3] = u
            corner = following[corner]
        following[last[u]] = first[v]
        last[u] = last[v]
        for k in range(3):
            points[u, k] = place[k]
        for k in range(10):
            quadrics[u, k] += quadrics[v, k]
        stamp[u] += 1
        stamp[v] = -1
        round_ += 1
        corner = first[u]
        while corner >= 0:
            face = corner // 3
            if alive[face]:
                for k in range(3):
                    other = corners[face, k]
                    if other != u and mark[other] != round_:
                        mark[other] = round_
                        entry = (_cost(points, quadrics, u, other, place), u, other, stamp[u], stamp[other])
                        heapq.heappush(heap, entry)  # pyright: ignore[reportArgumentType] - numba's types
            corner = following[corner]
    return points, corners[alive]


@compiled()
def _chains(count, corners):
    """The corners (numbered 3 face + k) at each vertex, as linked lists: first [V], last [V], following [3 F]."""
    first, last = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    following = np.full(corners.size, -1, np.int64)
    for corner in range(corners.size):
        v = corners[corner // 3, corner % 3]
        if first[v] < 0:
            first[v] = corner
        else:
            following[last[v]] = corner
        last[v] = corner
    return first, last, following


def _quadrics(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Per vertex the upper triangle of the sum of area (n, d)(n, d)^T over its faces' planes, [V, 10]."""
    twice = face_normals(points, faces)
    normal = unit(twice)
    plane = np.concatenate([normal, -np.einsum("fk,fk->f", normal, points[faces[:, 0]])[:, None]], 1)
    rows, columns = np.triu_indices(4)
    each = (np.linalg.norm(twice, axis=1) / 2)[:, None] * plane[:, rows] * plane[:, columns]
    return np.stack(
        [np.bincount(faces.reshape(-1), np.repeat(each[:, k], 3), len(points)) for k in range(10)], 1
    )


@compiled()
def _cost(points, quadrics, u, v, place):
    """The summed squared distance at the best place for an edge's remaining vertex, which is written to ``place``."""
    xx, xy = quadrics[u, 0] + quadrics[v, 0], quadrics[u, 1] + quadrics[v, 1]
    xz, xw = quadrics[u, 2] + quadrics[v, 2], quadrics[u, 3] + quadrics[v, 3]
    yy, yz = quadrics[u, 4] + quadrics[v, 4], quadrics[u, 5] + quadrics[v, 5]
    yw, zz = quadrics[u, 6] + quadrics[v, 6], quadrics[u, 7] + quadrics[v, 7]
    zw, ww = quadrics[u, 8] + quadrics[v, 8], quadrics[u, 9] + quadrics[v, 9]
    # Near-singular where the surface is flat or round only one way: the middle then decides along the free directions.
    stay = _LEVEL * (xx + yy + zz)
    p, q, r = (
        (points[u, 0] + points[v, 0]) / 2,
        (points[u, 1] + points[v, 1]) / 2,
        (points[u, 2] + points[v, 2]) / 2,
    )
    if stay == 0:  # between faces without area, any place is as good
        place[0], place[1], place[2] = p, q, r
        return 0.0
    # Cramer's rule for the symmetric [[a, b, c], [b, d, e], [c, e, f]].
    a, b, c, d, e, f = xx + stay, xy, xz, yy + stay, yz, zz + stay
    r0, r1, r2 = stay * p - xw, stay * q - yw, stay * r - zw
    c00, c01, c02 = d * f - e * e, c * e - b * f, b * e - c * d
    c11, c12, c22 = a * f - c * c, b * c - a * e, a * d - b * b
    determinant = a * c00 + b * c01 + c * c02
    x = (c00 * r0 + c01 * r1 + c02 * r2) / determinant
    y = (c01 * r0 + c11 * r1 + c12 * r2) / determinant
    z = (c02 * r0 + c12 * r1 + c22 * r2) / determinant
    place[0], place[1], place[2] = x, y, z
    error = xx * x * x + yy * y * y + zz * z * z + ww
    error += 2 * (xy * x * y + xz * x * z + yz * y * z + xw * x + yw * y + zw * z)
    offset = (x - p) ** 2 + (y - q) ** 2 + (z - r) ** 2
    # Of equally good ones the shorter edge first.
    return max(error, 0.0) + stay * (offset + 0.1 * _squared_distance(points[u], points[v]))


@compiled()
def _squared_distance(a, b):
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2


@compiled()
def _cross(a, b, c):
    """The normal of a triangle, twice as long as its area."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


@compiled()
def _link_condition(corners, alive, first, following, mark, round_, u, v):
    """True if u and v have two neighbours in common, each with over three faces, so that nothing folds or pinches."""
    corner = first[u]
    while corner >= 0:
        if alive[corner // 3]:
            for k in range(3):
                mark[corners[corner // 3, k]] = round_
        corner = following[corner]
    # In a closed surface each neighbour follows v in just one face.
    common = 0
    corner = first[v]
    while corner >= 0:
        face = corner // 3
        if alive[face]:
            other = corners[face, (corner % 3 + 1) % 3]
            if other != u and mark[other] == round_:
                common += 1
                degree, at = 0, first[other]
                while at >= 0:
                    degree += alive[at // 3]
                    at = following[at]
                if common > 2 or degree <= 3:
                    return False
        corner = following[corner]
    return common == 2


@compiled()
def _keeps_shape(points, corners, alive, first, following, moved, other, place, turn, thinness):
    """True if no face of ``moved`` that stays turns too far or becomes too thin with that corner at ``place``."""
    corner = first[moved]
    while corner >= 0:
        face, k = corner // 3, corner % 3
        corner = following[corner]
        after, before = corners[face, (k + 1) % 3], corners[face, (k + 2) % 3]
        if not alive[face] or after == other or before == other:
            continue
        b, c = points[after], points[before]
        old_x, old_y, old_z = _cross(points[moved], b, c)
        new_x, new_y, new_z = _cross(place, b, c)
        old_length = math.sqrt(old_x**2 + old_y**2 + old_z**2)
        new_length = math.sqrt(new_x**2 + new_y**2 + new_z**2)
        if old_x * new_x + old_y * new_y + old_z * new_z < turn * old_length * new_length:
            return False
        edges = _squared_distance(b, place) + _squared_distance(c, place) + _squared_distance(b, c)
        if 2 * math.sqrt(3.0) * new_length <= thinness * edges:
            return False
    return True
