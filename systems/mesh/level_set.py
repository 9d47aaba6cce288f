"""Vertices moved onto the level set of a field: marching cubes cuts straight edges, smoothing rounds corners off."""

from __future__ import annotations

import numpy as np
import torch

from ..field.query import query
from ..types import RadianceField
from .cleaning import face_normals, vertex_normals

_STEPS = 5


def pull_to_level(
    field: RadianceField,
    vertices: np.ndarray,
    faces: np.ndarray,
    level: float,
    reach: float,
    *,
    chunk: int = 262_144,
) -> np.ndarray:
    """Move vertices along their normals to where the field's density is ``level``, by at most ``reach``.

    The normals of an iso-surface are the direction of its field's gradient, and still have one where the field is a
    hard step. Along it the level is bracketed between ``-reach`` and ``reach`` and closed in on by the secant method
    with Illinois' correction (Dowell & Jarratt 1971, BIT 11), which never leaves the bracket. A vertex stays where it
    is if density does not fall from above to below the level on the way outwards, if the way leaves the box, or if the
    step would turn a face round.

    Args:
        vertices: [V, 3] near the surface, in the box's frame.
        faces: [F, 3], counter-clockwise seen from outside.
        reach: half a voxel, as a length in the box's frame.

    Returns:
        [V, 3] float64.
    """
    points = vertices.astype(np.float64)
    normals = vertex_normals(points, faces).astype(np.float64)
    within = (np.abs(points) + reach * np.abs(normals) <= 1).all(axis=1)
    chosen = np.flatnonzero(within)
    move = np.zeros(len(points))
    for start in range(0, len(chosen), chunk):
        some = chosen[start : start + chunk]
        move[some] = _distances(field, points[some], normals[some], level, reach)
    return _without_flips(points, faces, move[:, None] * normals)


def _distances(
    field: RadianceField, points: np.ndarray, normals: np.ndarray, level: float, reach: float
) -> np.ndarray:
    """How far outwards the level is crossed, [N] in [-reach, reach]; 0 where it is not."""

    def excess(at: np.ndarray, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        places = torch.as_tensor(points[rows] + at[:, None] * normals[rows], dtype=torch.float32)
        with torch.inference_mode():
            density = query(field, places)[0].double().numpy()
        # Far above the level density says only "inside"; its size would spoil the secant.
        return np.minimum(density / (2 * level), 1) - 0.5

    inner, outer = np.full(len(points), -reach), np.full(len(points), reach)
    value_in, value_out = excess(inner), excess(outer)
    crossed = np.flatnonzero((value_in > 0) & (value_out < 0))
    inner, outer, value_in, value_out = (a[crossed] for a in (inner, outer, value_in, value_out))
    middle = np.zeros(len(crossed))
    side = np.zeros(len(crossed), int)
    for _ in range(_STEPS):
        middle = inner + (outer - inner) * value_in / (value_in - value_out)
        value = excess(middle, crossed)
        inside = value > 0
        # The end that stays a second time counts half, so that it moves next.
        value_out = np.where(inside & (side == 1), value_out / 2, value_out)
        value_in = np.where(~inside & (side == -1), value_in / 2, value_in)
        inner, value_in = np.where(inside, middle, inner), np.where(inside, value, value_in)
        outer, value_out = (
            np.where(inside, outer, middle),
            np.where(inside, value_out, np.minimum(value, -1e-12)),
        )
        side = np.where(inside, 1, -1)
    found = np.zeros(len(points))
    found[crossed] = inner + (outer - inner) * value_in / (value_in - value_out)
    return found


def _without_flips(points: np.ndarray, faces: np.ndarray, move: np.ndarray) -> np.ndarray:
    """points + move, less the moves of the corners of every face that would turn by a right angle or more.

    It ends: each round takes some vertex's move away for good.
    """
    before = face_normals(points, faces)
    while True:
        turned = np.einsum("fk,fk->f", before, face_normals(points + move, faces)) <= 0
        corners = faces[turned]
        if not move[corners].any():
            return points + move
        move[corners] = 0
