"""Pinches opened: decimation may press a thin gap shut until an edge has four faces; the two walls are parted again."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .cleaning import neighbour_mean, unit
from .report import directed_edges, next_corner

_PARTED = 0.05  # of the way to the neighbours: enough to tell the walls apart, too little to see


def open_pinches(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Part a surface where it touches itself along edges or at vertices.

    Round an edge with four faces, solid and air take turns. Each face is joined to the one at the other side of its
    solid wedge, so that matter parts and air runs through; a vertex then falls into as many as it has fans of joined
    faces, and each of these moves a little towards its own neighbours.

    Args:
        vertices: [V, 3].
        faces: [F, 3], counter-clockwise seen from outside, every edge as often in one direction as in the other.

    Returns:
        Vertices [W, 3] and faces [F, 3]; those given if there is no pinch, or if an edge has unequal directions.
    """
    one, other = _joined(vertices.astype(np.float64), faces.astype(np.int64))
    if len(one) * 2 != faces.size:
        return vertices, faces
    corners = faces.reshape(-1).astype(np.int64)
    links = np.concatenate([one, next_corner(one)]), np.concatenate([next_corner(other), other])
    graph = coo_matrix((np.ones(len(links[0]), bool), links), shape=(len(corners),) * 2)
    count, fan = connected_components(graph, directed=False)
    if count == len(np.unique(corners)):
        return vertices, faces
    source = np.empty(count, np.int64)
    source[fan] = corners
    parted = np.bincount(source, minlength=len(vertices))[source] > 1
    points, triangles = vertices[source].astype(np.float64), fan.reshape(-1, 3)
    points[parted] += _PARTED * (neighbour_mean(count, triangles) @ points - points)[parted]
    return points, triangles


def _joined(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of directed edges that are joined, one up and one down, each by the corner 3 face + k where it starts."""
    start, end = directed_edges(faces)
    low, high = np.minimum(start, end), np.maximum(start, end)
    order = np.lexsort((start > end, high, low))
    key = low[order] * np.int64(len(vertices)) + high[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    many = np.diff(np.append(first, len(key)))
    up = [order[first[many == 2]]]
    down = [order[first[many == 2] + 1]]
    for begin, number in zip(first[many != 2], many[many != 2], strict=True):
        edges = order[begin : begin + number]
        rising = start[edges] < end[edges]
        if rising.sum() * 2 != number:
            continue
        up.append(edges[rising])
        down.append(_across_solid(vertices, faces, edges[rising], edges[~rising]))
    one, other = np.concatenate(up), np.concatenate(down)
    right = (start[one] == end[other]) & (end[one] == start[other])
    return one[right], other[right]


def _across_solid(vertices: np.ndarray, faces: np.ndarray, up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """For each face on one edge the face of the other direction that follows clockwise, through its solid side."""
    corners = faces.reshape(-1)
    begin = vertices[corners[up[0]]]
    axis = unit(vertices[corners[next_corner(up[0])]] - begin)

    def away(edges: np.ndarray) -> np.ndarray:
        arm = vertices[corners[next_corner(next_corner(edges))]] - begin
        return arm - (arm @ axis)[:, None] * axis

    zero = unit(away(up[:1]))[0]
    across = np.cross(axis, zero)
    angles = [np.arctan2(away(edges) @ across, away(edges) @ zero) for edges in (up, down)]
    turn = (angles[0][:, None] - angles[1][None]) % (2 * np.pi)
    nearest = turn.argmin(axis=1)
    # Faces that cross each other may ask for one partner twice: any pairing is closed then.
    return down[nearest if len(set(nearest.tolist())) == len(up) else np.arange(len(up))]
