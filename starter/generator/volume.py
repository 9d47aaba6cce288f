"""Solid occupancy of a triangle soup by depth carving, and coloured samples of its surface.

Grids are [x, y, z] over [-1, 1]^3, values belong to cell centres. A cell is empty when some direction sees past it;
what no direction reaches is solid. So hollow vessels stay open, and closed but unsorted parts need no inside test.
"""

from __future__ import annotations

import math

import numpy as np

from ...systems.compiled import compiled
from .objects import GeneratedObject
from .renderer_colour import srgb_from_linear, surface_colour
from .renderer_raster import parallel_bases, parallel_maps, sphere_directions

RESOLUTION = 64
_VIEWS, _SIZE = 48, 128
_DIRECTIONS = sphere_directions(_VIEWS)
_BASES = parallel_bases(_DIRECTIONS, _SIZE)
_SKIN = 0.010
"""Depth below the surface whose cells are kept whatever the maps say: thin legs and walls fall between their pixels."""


@compiled()
def _carve(solid, maps, bases):
    """Clear every cell that lies above some height map. Direction by direction, so that one map stays in cache."""
    n, size = solid.shape[0], maps.shape[1]
    cells = solid.reshape(-1)
    left = np.arange(n * n * n)
    count = left.shape[0]
    for d in range(maps.shape[0]):
        m, heights = bases[d], maps[d]
        kept = 0
        for c in range(count):
            cell = left[c]
            x = (cell // (n * n) + 0.5) * 2.0 / n - 1.0
            y = (cell // n % n + 0.5) * 2.0 / n - 1.0
            z = (cell % n + 0.5) * 2.0 / n - 1.0
            sx = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3] - 0.5
            sy = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3] - 0.5
            h = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z
            ix, iy = math.floor(sx), math.floor(sy)
            top = -np.inf
            if 0 <= ix < size - 1 and 0 <= iy < size - 1:
                # The highest of the four nearest pixels: a thin wall must not be seen through at its edge.
                top = max(heights[iy, ix], heights[iy, ix + 1], heights[iy + 1, ix], heights[iy + 1, ix + 1])
            if h > top:
                cells[cell] = 0
            else:
                left[kept] = cell
                kept += 1
        count = kept


@compiled()
def _keep_skin(solid, vertices, faces, spacing, depth):
    """Mark the cells just below every triangle."""
    n = solid.shape[0]
    for f in range(faces.shape[0]):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        e1x, e1y, e1z = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        e2x, e2y, e2z = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = e1y * e2z - e1z * e2y, e1z * e2x - e1x * e2z, e1x * e2y - e1y * e2x
        length = math.sqrt(nx * nx + ny * ny + nz * nz)
        if length < 1e-12:
            continue
        nx, ny, nz = depth * nx / length, depth * ny / length, depth * nz / length
        longest = math.sqrt(max(e1x * e1x + e1y * e1y + e1z * e1z, e2x * e2x + e2y * e2y + e2z * e2z))
        steps = int(longest / spacing) + 1
        for i in range(steps):
            for j in range(steps - i):
                p, q = (i + 0.33) / steps, (j + 0.33) / steps
                x = a[0] + p * e1x + q * e2x - nx
                y = a[1] + p * e1y + q * e2y - ny
                z = a[2] + p * e1z + q * e2z - nz
                ix, iy, iz = int((x + 1) * n / 2), int((y + 1) * n / 2), int((z + 1) * n / 2)
                if 0 <= ix < n and 0 <= iy < n and 0 <= iz < n:
                    solid[ix, iy, iz] = 1


def solid_occupancy(vertices: np.ndarray, faces: np.ndarray, resolution: int = RESOLUTION) -> np.ndarray:
    """Solid cells of a closed or nearly closed soup, [R, R, R] uint8 0 or 1 (x, y, z), over [-1, 1]^3."""
    maps = parallel_maps(vertices, faces, _BASES, _SIZE)
    solid = np.ones((resolution,) * 3, np.uint8)
    _carve(solid, maps, _BASES)
    _keep_skin(solid, vertices, faces, 1.2 / resolution, _SKIN)
    return solid


@compiled()
def _sample_colours(points, normals, uv, rows, table, sheet, tile, colours):
    for i in range(points.shape[0]):
        p, n = points[i], normals[i]
        r, g, b = surface_colour(
            table[rows[i]], sheet, tile, p[0], p[1], p[2], n[0], n[1], n[2], uv[i, 0], uv[i, 1]
        )
        colours[i, 0], colours[i, 1], colours[i, 2] = r, g, b


def surface_samples(
    obj: GeneratedObject, rng: np.random.Generator, n: int = 4096, solid: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Area-weighted points of the surface with their own colour.

    Args: solid: the object's occupancy; points that lie inside other parts are then left out (as far as n allows).
    Returns: points [n, 3] float16 and albedo [n, 3] uint8, sRGB, without any light.
    """
    corner = obj.vertices[obj.faces]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.linalg.norm(cross, axis=1)
    drawn = n if solid is None else 2 * n
    edges = np.cumsum(area, dtype=np.float64)
    face = np.searchsorted(edges, (np.arange(drawn) + rng.random(drawn)) * edges[-1] / drawn).clip(
        0, len(area) - 1
    )
    u, v = rng.random(drawn), rng.random(drawn)
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    weights = np.stack([1 - u - v, u, v], 1).astype(np.float32)[..., None]
    at = obj.faces[face]
    points = (obj.vertices[at] * weights).sum(1)
    normals = (obj.normals[at] * weights).sum(1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    uv = (obj.uv[at] * weights).sum(1)
    kept = np.arange(drawn)
    if solid is not None:
        size = solid.shape[0]
        cell = ((points + 1.4 * 2 / size * normals + 1) * size / 2).astype(int).clip(0, size - 1)
        buried = solid[cell[:, 0], cell[:, 1], cell[:, 2]] > 0
        kept = np.concatenate([rng.permutation(kept[~buried]), rng.permutation(kept[buried])])[:n]
    colours = np.empty((n, 3), np.float32)
    _sample_colours(
        points[kept],
        normals[kept],
        uv[kept],
        obj.face_row[face[kept]],
        obj.table,
        obj.sheet,
        obj.tile,
        colours,
    )
    return points[kept].astype(np.float16), (srgb_from_linear(colours) * 255 + 0.5).astype(np.uint8)
