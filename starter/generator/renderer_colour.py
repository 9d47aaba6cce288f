"""The colour of a surface point, compiled: what the renderer asks per pixel and the data set per surface sample.

A look's table has one row of ``COLUMNS`` numbers per (slot, mapping); colours in it are linear RGB. Textures are sRGB
bytes, row 0 at the top: ``sheet`` is wrapped round a body by its uv, ``tile`` is projected along the three axes.
"""

from __future__ import annotations

import math

import numpy as np

from ...systems.compiled import compiled
from .noise import fbm3, noise3

SOLID, SHEET, TILE, WOOD, MARBLE, SPECKLE, MOTTLE, STRIPES = range(8)
KIND, SCALE, ROUGHNESS, METALLIC, COAT, AMOUNT = range(6)
COLOUR_A, COLOUR_B, OFFSET = 6, 9, 12
COLUMNS = 15


def linear_from_srgb(srgb) -> np.ndarray:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    srgb = np.asarray(srgb, np.float64)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear) -> np.ndarray:
    """Linear light in [0, 1] to sRGB."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


LINEAR_OF_BYTE = linear_from_srgb(np.arange(256) / 255).astype(np.float32)


@compiled()
def texel(texture, u, v):
    """Bilinear, wrapping look-up: u to the right, v upwards, both with period 1; linear RGB."""
    height, width = texture.shape[0], texture.shape[1]
    x = (u - math.floor(u)) * width - 0.5
    y = (1.0 - (v - math.floor(v))) * height - 0.5
    fx, fy = math.floor(x), math.floor(y)
    tx, ty = x - fx, y - fy
    x0, y0 = int(fx) % width, int(fy) % height
    x1, y1 = (x0 + 1) % width, (y0 + 1) % height
    a, b, c, d = (1 - tx) * (1 - ty), tx * (1 - ty), (1 - tx) * ty, tx * ty
    t00, t01, t10, t11 = texture[y0, x0], texture[y0, x1], texture[y1, x0], texture[y1, x1]
    lut = LINEAR_OF_BYTE
    return (
        a * lut[t00[0]] + b * lut[t01[0]] + c * lut[t10[0]] + d * lut[t11[0]],
        a * lut[t00[1]] + b * lut[t01[1]] + c * lut[t10[1]] + d * lut[t11[1]],
        a * lut[t00[2]] + b * lut[t01[2]] + c * lut[t10[2]] + d * lut[t11[2]],
    )


@compiled()
def _tiled(row, tile, x, y, z, nx, ny, nz):
    """Project the tile along the three axes; the steep weights keep painted lines single."""
    s = row[SCALE]
    wx, wy, wz = nx * nx, ny * ny, nz * nz
    wx, wy, wz = wx * wx * wx * wx, wy * wy * wy * wy, wz * wz * wz * wz
    total = wx + wy + wz + 1e-9
    r, g, b = 0.0, 0.0, 0.0
    x, y, z = x * s + row[OFFSET], y * s + row[OFFSET + 1], z * s + row[OFFSET + 2]
    if wy > 0.02 * total:
        p, q, t = texel(tile, x, z)
        r, g, b = r + wy * p, g + wy * q, b + wy * t
    else:
        total -= wy
    if wx > 0.02 * total:
        p, q, t = texel(tile, y, z)
        r, g, b = r + wx * p, g + wx * q, b + wx * t
    else:
        total -= wx
    if wz > 0.02 * total:
        p, q, t = texel(tile, x, y)
        r, g, b = r + wz * p, g + wz * q, b + wz * t
    else:
        total -= wz
    return r / total, g / total, b / total


@compiled()
def _blend(row, x, y, z):
    """How much of colour B shows at a point, for the patterns that are solid in space; 0 to 1."""
    kind = int(row[KIND])
    s, amount = row[SCALE], row[AMOUNT]
    x, y, z = x + row[OFFSET], y + row[OFFSET + 1], z + row[OFFSET + 2]
    if kind == WOOD:
        # Growth rings round a slightly tilted, wandering axis, and fine fibres along it.
        wander = noise3(1.3 * x, 1.3 * y, 0.7 * z)
        ring = s * math.sqrt((x + 0.15 * z) ** 2 + (y + 0.3) ** 2) + 2.2 * wander
        ring = ring - math.floor(ring)
        return min(1.0, amount * ring * ring + 0.35 * noise3(26 * x, 26 * y, 2.5 * z))
    if kind == MARBLE:
        vein = math.sin(s * (x + 0.7 * z + 0.4 * y) + 7.0 * fbm3(1.7 * x, 1.7 * y, 1.7 * z, 4))
        vein = 1.0 - abs(vein)
        return min(1.0, amount * vein * vein * vein * vein + 0.12 * noise3(3 * x, 3 * y, 3 * z))
    if kind == SPECKLE:
        grain = 0.55 * noise3(s * x, s * y, s * z) + 0.45 * noise3(2.1 * s * x, 2.1 * s * y, 2.1 * s * z)
        return min(1.0, max(0.0, 0.5 + amount * (grain - 0.5) * 3))
    if kind == MOTTLE:
        cloud = fbm3(s * x, s * y, s * z, 3)
        return min(1.0, max(0.0, 0.5 + amount * (cloud - 0.5) * 3))
    if kind == STRIPES:
        wave = s * z
        return 1.0 if wave - math.floor(wave) > 1 - amount else 0.0
    return 0.0


@compiled()
def surface_colour(row, sheet, tile, x, y, z, nx, ny, nz, u, v):
    """Linear RGB of a point with normal and uv, under one row of a look's table."""
    kind = int(row[KIND])
    if kind == SHEET:
        return texel(sheet, u, v)
    if kind == TILE:
        return _tiled(row, tile, x, y, z, nx, ny, nz)
    b = 0.0 if kind == SOLID else _blend(row, x, y, z)
    a = 1.0 - b
    return (
        a * row[COLOUR_A] + b * row[COLOUR_B],
        a * row[COLOUR_A + 1] + b * row[COLOUR_B + 1],
        a * row[COLOUR_A + 2] + b * row[COLOUR_B + 2],
    )
