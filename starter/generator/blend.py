"""Soft bodies: round cones melted together by a smooth union, meshed by marching cubes.

Distance of a round cone: the distance to the segment a..b minus a radius that runs linearly from a to b.
Smooth union: the polynomial of Quilez (https://iquilezles.org/articles/smin), blending over a width k.
"""

import mcubes
import numpy as np

from ...systems.compiled import compiled
from .parts import BODY, Part, make_part, unit

Cone = tuple


def cone(
    start: tuple[float, float, float],
    stop: tuple[float, float, float] | None,
    radii: float | tuple[float, float],
    *,
    soft: float = 0.10,
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Cone:
    """A round cone from start to stop (a ball when stop is None), radii at either end.

    `soft` is the width of its melting into what came before; `scale` stretches its thickness per axis.
    """
    first, last = (radii, radii) if isinstance(radii, (int, float)) else radii
    return (*start, *(start if stop is None else stop), first, last, soft, *scale)


def mirrored(piece: Cone, axis: int) -> list[Cone]:
    """A cone and its mirror image across the plane where the axis (0 x, 1 y) is zero."""
    other = list(piece)
    other[axis], other[3 + axis] = -other[axis], -other[3 + axis]
    return [piece, tuple(other)]


@compiled(fastmath=True, inline="always")
def _distance(x, y, z, cones):
    total = np.float32(1e6)
    for k in range(cones.shape[0]):
        c = cones[k]
        px, py, pz = (x - c[0]) / c[9], (y - c[1]) / c[10], (z - c[2]) / c[11]
        bx, by, bz = (c[3] - c[0]) / c[9], (c[4] - c[1]) / c[10], (c[5] - c[2]) / c[11]
        along = (px * bx + py * by + pz * bz) / max(bx * bx + by * by + bz * bz, np.float32(1e-12))
        along = min(max(along, np.float32(0)), np.float32(1))
        dx, dy, dz = px - along * bx, py - along * by, pz - along * bz
        near = np.sqrt(dx * dx + dy * dy + dz * dz) - (c[6] + (c[7] - c[6]) * along)
        near *= min(c[9], min(c[10], c[11]))
        mix = max(c[8] - abs(total - near), np.float32(0)) / c[8]
        total = min(total, near) - mix * mix * c[8] * np.float32(0.25)
    return total


@compiled(fastmath=True)
def _sample_grid(low, step, shape, cones):
    values = np.empty((shape[0], shape[1], shape[2]), np.float32)
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                values[i, j, k] = _distance(low[0] + i * step, low[1] + j * step, low[2] + k * step, cones)
    return values


@compiled(fastmath=True)
def _sample_points(points, cones):
    values = np.empty(len(points), np.float32)
    for i in range(len(points)):
        values[i] = _distance(points[i, 0], points[i, 1], points[i, 2], cones)
    return values


class SoftBody:
    """The smooth union of round cones, in the order given."""

    def __init__(self, pieces: list[Cone]):
        self.cones = np.asarray(pieces, dtype=np.float32)

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Distance estimate [N] (negative inside) at points [N, 3]; exact only on the surface."""
        return _sample_points(np.ascontiguousarray(points, dtype=np.float32), self.cones)

    def surface(
        self, origin: tuple[float, float, float], direction: tuple[float, float, float]
    ) -> np.ndarray:
        """The last point [3] where a ray from a point inside leaves the body: where eyes and noses sit."""
        travel = np.linspace(0.0, 2.0, 400)
        points = np.asarray(origin) + travel[:, None] * unit(np.asarray(direction, dtype=float))
        inside = np.flatnonzero(self.distance(points) < 0.0)
        return points[inside[-1] if len(inside) else 0]

    def mesh(self, slot: int = BODY, *, resolution: int = 52) -> Part:
        """Mesh the surface; `resolution` cells along the longest side; uv is (x, z) in the box."""
        radius = np.maximum(self.cones[:, 6:7], self.cones[:, 7:8]) * self.cones[:, 9:12]
        low = (np.minimum(self.cones[:, 0:3], self.cones[:, 3:6]) - radius).min(axis=0)
        high = (np.maximum(self.cones[:, 0:3], self.cones[:, 3:6]) + radius).max(axis=0)
        step = float((high - low).max() / resolution)
        # The blend bulges outside the cones by up to a quarter of its width.
        margin = 2 * step + 0.25 * self.cones[:, 8].max()
        low, high = low - margin, high + margin
        shape = tuple(int(n) for n in np.ceil((high - low) / step) + 1)
        values = _sample_grid(low, np.float32(step), shape, self.cones)
        vertices, faces = mcubes.marching_cubes(values, 0.0)
        points = (vertices * step + low).astype(np.float32)
        uv = (points - points.min(axis=0)) / np.ptp(points, axis=0)
        # mcubes winds triangles towards the inside of a negative-inside field.
        return make_part(points, faces[:, ::-1].astype(np.int32), self.normals(points), uv[:, [0, 2]], slot)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Unit outward normals [N, 3]: central differences of the distance."""
        reach = 0.01
        steps = reach * np.eye(3, dtype=np.float32)
        return unit(np.stack([self.distance(points + s) - self.distance(points - s) for s in steps], axis=1))
