"""Value noise on a hashed integer lattice, compiled: the grain of wood, the veins of marble, the mottle of glaze.

Results lie in [0, 1]. Nothing is random: the same point always gives the same value, so seeds enter as offsets.
"""

from __future__ import annotations

import math

from ...systems.compiled import compiled


@compiled(inline="always")
def lattice(ix: int, iy: int, iz: int) -> float:
    """A hash of three integers, uniform in [0, 1)."""
    h = (ix * 374761393 + iy * 668265263 + iz * 1103515245) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return (h ^ (h >> 16)) / 4294967296.0


@compiled()
def noise3(x: float, y: float, z: float) -> float:
    """Smooth value noise in 3-D with unit lattice spacing."""
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    ix, iy, iz = int(fx), int(fy), int(fz)
    tx, ty, tz = x - fx, y - fy, z - fz
    tx, ty, tz = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty), tz * tz * (3 - 2 * tz)
    a = lattice(ix, iy, iz) * (1 - tx) + lattice(ix + 1, iy, iz) * tx
    b = lattice(ix, iy + 1, iz) * (1 - tx) + lattice(ix + 1, iy + 1, iz) * tx
    c = lattice(ix, iy, iz + 1) * (1 - tx) + lattice(ix + 1, iy, iz + 1) * tx
    d = lattice(ix, iy + 1, iz + 1) * (1 - tx) + lattice(ix + 1, iy + 1, iz + 1) * tx
    return (a * (1 - ty) + b * ty) * (1 - tz) + (c * (1 - ty) + d * ty) * tz


@compiled()
def noise2(x: float, y: float) -> float:
    """Smooth value noise in 2-D with unit lattice spacing."""
    fx, fy = math.floor(x), math.floor(y)
    ix, iy = int(fx), int(fy)
    tx, ty = x - fx, y - fy
    tx, ty = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty)
    a = lattice(ix, iy, 17) * (1 - tx) + lattice(ix + 1, iy, 17) * tx
    b = lattice(ix, iy + 1, 17) * (1 - tx) + lattice(ix + 1, iy + 1, 17) * tx
    return a * (1 - ty) + b * ty


@compiled()
def fbm3(x: float, y: float, z: float, octaves: int) -> float:
    """Fractal sum of ``noise3``: each octave twice as fine and half as strong."""
    total, amplitude, weight = 0.0, 0.5, 0.0
    for _ in range(octaves):
        total += amplitude * noise3(x, y, z)
        weight += amplitude
        x, y, z, amplitude = 2.03 * x + 11.3, 2.03 * y + 5.7, 2.03 * z + 7.1, 0.5 * amplitude
    return total / weight


@compiled()
def fbm2(x: float, y: float, octaves: int) -> float:
    """Fractal sum of ``noise2``."""
    total, amplitude, weight = 0.0, 0.5, 0.0
    for _ in range(octaves):
        total += amplitude * noise2(x, y)
        weight += amplitude
        x, y, amplitude = 2.03 * x + 11.3, 2.03 * y + 5.7, 0.5 * amplitude
    return total / weight
