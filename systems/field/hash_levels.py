"""The layout of a multiresolution hash grid: which row of its table holds a vertex of a level.

The encoding is Instant-NGP's (Mueller, Evans, Schied, Keller 2022, arXiv:2201.05989, section 3): L levels of grids
whose resolutions grow geometrically; a level with no more vertices than the table may have rows is stored as it is, a
finer one is hashed, h(v) = (v_x xor 2654435761 v_y xor 805459861 v_z) mod T (eq. 4), and vertices that meet share a
row.

What the paper leaves open is as in tiny-cuda-nn's HashGrid, so that a table trained here is one there. From public
sources, none of them its code:

- scale = base * growth^l - 1, resolution = ceil(scale) + 1, cells half a cell off (x * scale + 1/2): Dr.Jit's
  ``HashGridEncoding`` with ``torchngp_compat`` (BSD), whose documentation says that its indices are tiny-cuda-nn's;
- rows rounded up to a multiple of 8 and at most 2^log2_hashmap_size, levels one after another, features of a row side
  by side: sizes that its users report, 12196240 parameters (tiny-cuda-nn issue 338, 16 levels of 2 features with 2^19
  rows; it comes out for a growth to 2048, where the issue's text says 1024) and 699072 (issue 468, in two dimensions);
  tests count them;
- a dense level has strides 1, r, r^2 with x the quickest; beyond its last vertex, which the half cell reaches, the row
  is taken modulo the size: Dr.Jit, and descriptions of other ports.

Not verified here: the same numbers from tiny-cuda-nn itself, which needs CUDA.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ...configs.errors import BadInput

PRIMES = (1, 2_654_435_761, 805_459_861)
"""One for each axis."""
_FEATURES = (1, 2, 4, 8)
_WORD = 0xFFFFFFFF  # indices are 32 bits wide


class Level(NamedTuple):
    """One level: positions in [0, 1] are scaled by ``scale``; its rows are [offset, offset + size) of the table."""

    scale: float
    resolution: int
    offset: int
    size: int
    dense: bool


@dataclass(frozen=True)
class GridShape:
    """How large a hash grid is; names and defaults of threestudio's ``implicit-volume`` and of tiny-cuda-nn.

    Raises:
        BadInput: it cannot be built.
    """

    n_levels: int = 16
    n_features_per_level: int = 2
    log2_hashmap_size: int = 19
    base_resolution: int = 16
    per_level_scale: float = 1.447269237440378

    def __post_init__(self) -> None:
        if self.n_features_per_level not in _FEATURES:
            raise BadInput(
                f"a hash grid has {', '.join(map(str, _FEATURES))} features a level, not "
                f"{self.n_features_per_level}; set refine.hash_features to one of them"
            )
        if not (self.n_levels >= 1 and 3 <= self.log2_hashmap_size <= 24):
            raise BadInput(
                f"a hash grid has at least one level and 2^3 to 2^24 rows, not {self.n_levels} levels and "
                f"2^{self.log2_hashmap_size} rows; change refine.hash_levels or refine.hash_log2_size"
            )
        if not (self.base_resolution >= 2 and self.per_level_scale >= 1):
            raise BadInput(
                "a hash grid begins with two cells a side or more and does not get coarser, so it cannot begin with "
                f"{self.base_resolution} and grow by {self.per_level_scale}; change them"
            )

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """From coarse to fine."""
        made, offset = list[Level](), 0
        growth = np.log2(np.float32(self.per_level_scale))
        for number in range(self.n_levels):
            # In single precision, as every device computes it.
            scale = float(np.exp2(np.float32(number) * growth) * np.float32(self.base_resolution) - 1)
            resolution = math.ceil(scale) + 1
            size = min(-(-(resolution**3) // 8) * 8, 2**self.log2_hashmap_size)
            made.append(Level(scale, resolution, offset, size, resolution**3 <= size))
            offset += size
        return tuple(made)

    @property
    def rows(self) -> int:
        """Of the whole table."""
        return self.levels[-1].offset + self.levels[-1].size

    @property
    def width(self) -> int:
        """Features that a point gets, level after level."""
        return self.n_levels * self.n_features_per_level


def rows_of(vertices: np.ndarray, level: Level) -> np.ndarray:
    """The table's row of each vertex [..., 3] of a level, int64 [...]; several vertices may share one."""
    x, y, z = np.moveaxis(vertices.astype(np.int64), -1, 0)
    if level.dense:
        return level.offset + (x + y * level.resolution + z * level.resolution**2) % level.size
    return level.offset + ((x ^ y * PRIMES[1] ^ z * PRIMES[2]) & _WORD) % level.size


class Sharing(NamedTuple):
    """Of one level: how many vertices are in use, in how many rows, and how many of them do not have a row alone."""

    resolution: int
    vertices: int
    rows: int
    sharing: int


def sharing(shape: GridShape, points: np.ndarray) -> list[Sharing]:
    """How far a grid is really hashed where points [N, 3] in [0, 1] are asked for, one entry a level."""
    corners = np.stack(np.meshgrid(*[[0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    told = []
    for level in shape.levels:
        lower = np.unique(np.floor(points * level.scale + 0.5).astype(np.int64), axis=0)
        vertices = np.unique((lower[:, None] + corners).reshape(-1, 3), axis=0)
        _, counts = np.unique(rows_of(vertices, level), return_counts=True)
        told.append(Sharing(level.resolution, len(vertices), len(counts), int(counts[counts > 1].sum())))
    return told
