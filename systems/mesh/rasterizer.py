"""A z-buffer rasteriser for the CPU: which triangle covers a pixel, and where in it. Bakes textures and draws previews.

Pixel coordinates: x to the right, y down, the centre of the pixel in row i and column j at (j + 0.5, i + 0.5).
"""

from __future__ import annotations

import numpy as np

from ..compiled import compiled

EMPTY = -1
"""Face index of a pixel that no triangle covers."""


def rasterize(
    pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw triangles into a z-buffer.

    Args:
        pixels: where each vertex appears, [V, 2] pixel coordinates.
        depth: distance along the view axis, [V]; triangles with a vertex at depth <= 0 are left out. All ones for a
            flat drawing such as a UV atlas.
        faces: [F, 3] vertex indices, either winding.

    Returns:
        face [height, width] int32, the nearest triangle whose inside or border holds the pixel's centre, or ``EMPTY``;
        weights [height, width, 3] float32, perspective-correct barycentric weights of its corners (0 where empty).
    """
    return _rasterize(
        np.ascontiguousarray(pixels, np.float64),
        np.ascontiguousarray(depth, np.float64),
        np.ascontiguousarray(faces, np.int64),
        height,
        width,
    )


def interpolate(values: np.ndarray, faces: np.ndarray, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Vertex values [V, C] at the covered pixels, [number covered, C], in the order of ``face != EMPTY``."""
    covered = face != EMPTY
    return np.einsum("pk,pkc->pc", weights[covered], values[faces[face[covered]]])


@compiled()
def _rasterize(pixels, depth, faces, height, width):
    face = np.full((height, width), EMPTY, np.int32)
    weights = np.zeros((height, width, 3), np.float32)
    nearness = np.zeros((height, width))
    for f in range(len(faces)):
        a, b, c = faces[f]
        if depth[a] <= 0 or depth[b] <= 0 or depth[c] <= 0:
            continue
        ax, ay = pixels[a]
        bx, by = pixels[b]
        cx, cy = pixels[c]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        # 1/depth is linear in the picture, depth is not: corners are weighted by it.
        za, zb, zc = 1 / depth[a], 1 / depth[b], 1 / depth[c]
        first_row = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        last_row = min(height - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        first_column = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        last_column = min(width - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        for i in range(first_row, last_row + 1):
            y = i + 0.5
            for j in range(first_column, last_column + 1):
                x = j + 0.5
                wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                wc = 1 - wa - wb
                # The tiny negative bound closes the hairline cracks that rounding would leave along shared edges.
                if wa < -1e-9 or wb < -1e-9 or wc < -1e-9:
                    continue
                inverse = wa * za + wb * zb + wc * zc
                if inverse > nearness[i, j]:
                    nearness[i, j] = inverse
                    face[i, j] = f
                    weights[i, j, 0] = wa * za / inverse
                    weights[i, j, 1] = wb * zb / inverse
                    weights[i, j, 2] = wc * zc / inverse
    return face, weights
