"""A multiresolution hash grid: points -> features, on whatever device, from one table of parameters.

The features of a point are, level after level, those of its cell's eight vertices, interpolated trilinearly
(``hash_levels`` says which row of the table holds a vertex). The table is float32 [rows, features]; read row by row it
is the ``params`` of tiny-cuda-nn's HashGrid of the same shape, which does the work itself where it is installed and the
table is on CUDA.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float
from torch.func import functional_call

from .hash_levels import PRIMES, GridShape
from .shapes import Points

Table = Float[torch.Tensor, "row feature"]
Features = Float[torch.Tensor, "point width"]
Encoder = Callable[[Table, Points, GridShape], Features]


def encode(table: Table, points: Points, shape: GridShape, backend: str | None = None) -> Features:
    """Features of points, differentiable with respect to the table and to the points.

    Args:
        table: [rows, features per level], float32.
        points: [N, 3] in [0, 1]^3, on the table's device.
        backend: a key of ``ENCODERS``; by default the quickest for the device. Second derivatives are torch's alone.
    Returns:
        [N, levels * features per level].
    """
    if tuple(table.shape) != (shape.rows, shape.n_features_per_level):
        raise ValueError(
            f"expected a table {(shape.rows, shape.n_features_per_level)}, not {tuple(table.shape)}"
        )
    return ENCODERS[backend or encoder_for(table)](table, points, shape)


def encoder_for(table: Table) -> str:
    """The quickest key of ``ENCODERS`` where a table is; double precision is torch's alone."""
    if table.dtype != torch.float32:
        return "torch"
    if table.device.type == "cuda":
        return "tinycudann" if _tiny_cuda_nn() is not None else "torch"
    return "numba" if table.device.type == "cpu" else "torch"


def encode_by_torch(table: Table, points: Points, shape: GridShape) -> Features:
    """``encode`` by one look-up for each corner of each level: any device, and what the others are tested by."""
    found = []
    for level in shape.levels:
        places = points * level.scale + 0.5
        lower = places.detach().floor()
        inside, (x, y, z) = places - lower, lower.long().unbind(-1)
        total = table.new_zeros(())
        for corner in range(8):
            right, up, far = corner >> 2 & 1, corner >> 1 & 1, corner & 1
            i, j, k = x + right, y + up, z + far
            if level.dense:
                row = (i + j * level.resolution + k * level.resolution**2) % level.size
            else:  # a hashed level's size is a power of two: what is beyond 32 bits does not count
                row = (i ^ j * PRIMES[1] ^ k * PRIMES[2]) & (level.size - 1)
            weight = torch.ones_like(inside[:, 0])
            for axis, beyond in enumerate((right, up, far)):
                weight = weight * (inside[:, axis] if beyond else 1 - inside[:, axis])
            total = total + weight[:, None] * table.index_select(0, row + level.offset)
        found.append(total)
    return torch.cat(found, dim=1)


def encode_by_numba(table: Table, points: Points, shape: GridShape) -> Features:
    """``encode`` on the CPU, in float32 (see ``hash_kernels``)."""
    # Imported late: only a hash grid on the CPU needs them.
    from .hash_kernels import encode_on_cpu

    return encode_on_cpu(table, points, shape.levels)


def encode_by_tiny_cuda_nn(table: Table, points: Points, shape: GridShape) -> Features:
    """``encode`` on CUDA by tiny-cuda-nn, which computes with the table in half precision."""
    network = _tiny_cuda_nn_grid(shape)
    features: torch.Tensor = functional_call(network, {"params": table.reshape(-1)}, (points,))
    return features.float()


ENCODERS: dict[str, Encoder] = {
    "numba": encode_by_numba,
    "torch": encode_by_torch,
    "tinycudann": encode_by_tiny_cuda_nn,
}
"""numba: the CPU; torch: any device; tinycudann: CUDA, where it is installed."""


@lru_cache(maxsize=1)
def _tiny_cuda_nn() -> Any | None:
    """tiny-cuda-nn's bindings, or None: not installed, or built for another GPU or CUDA (which is an OSError)."""
    try:
        return import_module("tinycudann")
    except (ImportError, OSError):
        return None


@lru_cache(maxsize=4)
def _tiny_cuda_nn_grid(shape: GridShape) -> Any:
    config = {
        "otype": "HashGrid",
        "n_levels": shape.n_levels,
        "n_features_per_level": shape.n_features_per_level,
        "log2_hashmap_size": shape.log2_hashmap_size,
        "base_resolution": shape.base_resolution,
        "per_level_scale": shape.per_level_scale,
    }
    bindings = _tiny_cuda_nn()
    if bindings is None:
        raise ValueError("tiny-cuda-nn cannot be imported here; ask for the encoder 'torch'")
    return bindings.Encoding(n_input_dims=3, encoding_config=config)
