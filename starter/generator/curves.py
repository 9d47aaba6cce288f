"""Smooth curves through a few points: profiles for turned shapes, centre lines for tubes.

Every function takes control points [K, D] (D = 2 or 3) and returns points [n, D].
"""

from collections.abc import Sequence

import numpy as np

Points = Sequence[Sequence[float]] | np.ndarray


def resample(points: np.ndarray, count: int) -> np.ndarray:
    """Walk along a polyline [K, D] and return `count` points at equal distances."""
    travelled = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    stops = np.linspace(0.0, travelled[-1], count)
    return np.stack([np.interp(stops, travelled, points[:, axis]) for axis in range(points.shape[1])], axis=1)


def spline(controls: Points, count: int) -> np.ndarray:
    """Centripetal Catmull-Rom curve through all control points [K, D], K >= 2.

    Centripetal knots make no loops or cusps (Yuksel et al. 2011, https://doi.org/10.1016/j.cad.2010.08.008),
    which a wall offset from the curve could not survive.
    """
    points = np.asarray(controls, dtype=float)
    padded = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(padded, axis=0), axis=1) ** 0.5)])
    fine = np.linspace(knots[1], knots[-2], 8 * len(points) + 2 * count)
    span = np.clip(np.searchsorted(knots, fine, side="right") - 1, 1, len(points) - 1)
    corner = [padded[span + k] for k in (-1, 0, 1, 2)]
    knot = [knots[span + k] for k in (-1, 0, 1, 2)]

    def between(left: np.ndarray, right: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        weight = ((fine - start) / (stop - start))[:, None]
        return (1 - weight) * left + weight * right

    first = [between(corner[k], corner[k + 1], knot[k], knot[k + 1]) for k in range(3)]
    second = [between(first[k], first[k + 1], knot[k], knot[k + 2]) for k in range(2)]
    return resample(between(second[0], second[1], knot[1], knot[2]), count)


def rounded(controls: Points, radius: float, steps: int = 4) -> np.ndarray:
    """A polyline [K, D] whose inner corners are cut and rounded over at most `radius` on either side.

    Straight stretches stay straight (no resampling), so that flat faces shade flat.
    """
    points = np.asarray(controls, dtype=float)
    pieces = [points[:1]]
    turn = np.linspace(0.0, 1.0, steps)[:, None]
    for before, corner, after in zip(points[:-2], points[1:-1], points[2:], strict=True):
        back, ahead = before - corner, after - corner
        length_back, length_ahead = np.linalg.norm(back), np.linalg.norm(ahead)
        cut = min(radius, 0.45 * length_back, 0.45 * length_ahead)
        start, stop = corner + back / length_back * cut, corner + ahead / length_ahead * cut
        pieces.append((1 - turn) ** 2 * start + 2 * turn * (1 - turn) * corner + turn**2 * stop)
    return np.concatenate([*pieces, points[-1:]])


def circle(radius_x: float, radius_y: float, count: int) -> np.ndarray:
    """An ellipse [count, 2], counter-clockwise from +x, without repeating the first point."""
    angle = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
    return np.stack([radius_x * np.cos(angle), radius_y * np.sin(angle)], axis=1)


def capped(side: np.ndarray, bevel: float = 0.025) -> np.ndarray:
    """A profile [K, 2] of (radius, height) closed to the axis by flat discs at whichever ends are off the axis.

    Each disc gets one extra ring just inside its edge: the rounding of the shading stays within `bevel`.
    """
    discs = []
    for radius, height in (side[0], side[-1]):
        ring = [[0.0, height], [max(radius - bevel, 0.5 * radius), height]]
        discs.append(np.array(ring if radius > 0 else []).reshape(-1, 2))
    return np.concatenate([discs[0], side, discs[1][::-1]])
