"""One z-buffer for everything: cameras, shadow maps, ambient occlusion and carving.

A screen vertex is (x, y, key): pixels from the left, pixels from the top, and a key that is affine on the screen and
LARGER where nearer. Under perspective the key is 1/depth; under parallel projection it is the height towards the eye.
"""

from __future__ import annotations

import math

import numpy as np

from ...systems.compiled import compiled

EXTENT = 1.12
"""Half the width of every parallel projection: objects lie inside a sphere of radius 1.10."""


@compiled()
def rasterise(screen, faces, keys, ids):
    """Draw triangles into keys [S, S] (float32, start at -inf) and ids [S, S] (int32, the winning face)."""
    size = keys.shape[0]
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by, cx, cy = (
            screen[a, 0],
            screen[a, 1],
            screen[b, 0],
            screen[b, 1],
            screen[c, 0],
            screen[c, 1],
        )
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        x0 = max(0, math.ceil(min(ax, bx, cx) - 0.5))
        x1 = min(size - 1, math.floor(max(ax, bx, cx) - 0.5))
        y0 = max(0, math.ceil(min(ay, by, cy) - 0.5))
        y1 = min(size - 1, math.floor(max(ay, by, cy) - 0.5))
        if x0 > x1 or y0 > y1:
            continue
        inv = 1.0 / area
        ka, kb, kc = screen[a, 2], screen[b, 2], screen[c, 2]
        # Barycentrics of b and c are affine: one step to the right adds du, dv.
        du, dv = (cy - ay) * inv, (ay - by) * inv
        for y in range(y0, y1 + 1):
            py = y + 0.5 - ay
            px = x0 + 0.5 - ax
            u = (px * (cy - ay) - py * (cx - ax)) * inv
            v = (py * (bx - ax) - px * (by - ay)) * inv
            for x in range(x0, x1 + 1):
                if u >= -1e-6 and v >= -1e-6 and u + v <= 1.000001:
                    key = ka + u * (kb - ka) + v * (kc - ka)
                    if key > keys[y, x]:
                        keys[y, x] = key
                        ids[y, x] = f
                u += du
                v += dv


def view_basis(towards_eye: np.ndarray) -> np.ndarray:
    """Rows right, down, towards the eye [3, 3] of a view with +Z up (any up will do when looking along Z)."""
    back = np.asarray(towards_eye, np.float64) / np.linalg.norm(towards_eye)
    up = np.array([0.0, 0.0, 1.0]) if abs(back[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, back), back])


def parallel_bases(towards_eye: np.ndarray, size: int) -> np.ndarray:
    """[D, 3, 4] float32 maps from points to screen vertices of parallel projections along D directions."""
    scale = size / (2 * EXTENT)
    bases = np.zeros((len(towards_eye), 3, 4), np.float32)
    for basis, direction in zip(bases, towards_eye, strict=True):
        basis[:, :3] = view_basis(direction)
        basis[:2, :3] *= scale
        basis[:2, 3] = size / 2
    return bases


@compiled()
def _parallel_maps(vertices, faces, bases, maps):
    screen = np.empty((vertices.shape[0], 3), np.float32)
    ids = np.empty((maps.shape[1], maps.shape[2]), np.int32)
    for d in range(bases.shape[0]):
        m = bases[d]
        for i in range(vertices.shape[0]):
            x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
            for k in range(3):
                screen[i, k] = m[k, 0] * x + m[k, 1] * y + m[k, 2] * z + m[k, 3]
        rasterise(screen, faces, maps[d], ids)


def parallel_maps(vertices: np.ndarray, faces: np.ndarray, bases: np.ndarray, size: int) -> np.ndarray:
    """Height maps [D, size, size] of the nearest surface along each basis; -inf where there is none."""
    maps = np.full((len(bases), size, size), -np.inf, np.float32)
    _parallel_maps(vertices, faces, bases, maps)
    return maps


def sphere_directions(count: int, *, lowest: float = -1.0) -> np.ndarray:
    """[count, 3] unit vectors spread evenly (Fibonacci spiral) over the sphere's part with z >= lowest."""
    k = np.arange(count) + 0.5
    z = 1 - (1 - lowest) * k / count
    turn = k * np.pi * (3 - np.sqrt(5.0))
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], 1)
