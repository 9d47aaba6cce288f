"""The iso-surface of a refined field: blocks near the surface against the whole grid, and the memory of a large one.

    python -m benchmarks.surface RUN [--resolution 256] [--large 512] [--repeat 3] [--out benchmarks/results]

RUN is a finished run or a field.safetensors. Both ways find the threshold by themselves, evaluate the field and run
PyMCubes; the best of the repetitions counts. Distances are those of each way's vertices to the nearest one of the
other, at the same threshold. The large grid runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcubes
import numpy as np
import torch
from scipy.spatial import KDTree

from slipcast.systems.field.density_sampling import look_at, sample_density, sample_near_surface
from slipcast.systems.field.iso_level import auto_threshold
from slipcast.systems.field.voxels import VoxelField
from slipcast.systems.mesh.extraction import extract_surface
from slipcast.systems.mesh.marching_cubes import marching_cubes
from slipcast.systems.mesh.report import is_watertight
from slipcast.systems.types import RadianceField

from .machine import report

Surface = tuple[np.ndarray, np.ndarray]


def main() -> None:
    """Time both ways, compare, measure the large grid."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--large", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--only-large", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    path = given.run / "30-refine/field.safetensors" if given.run.is_dir() else given.run
    field = VoxelField.load(path).requires_grad_(False)
    field(torch.zeros(1, 3))  # the kernels are compiled
    if given.only_large:
        print(json.dumps(large(field, given.large)))
        return
    _, dense_seconds = best(given.repeat, lambda: whole_grid(field, given.resolution))
    blocks, block_seconds = best(given.repeat, lambda: near_surface(field, given.resolution))
    look = look_at(field, given.resolution)
    dense = whole_grid(field, given.resolution, auto_threshold(look.density, look.spacing))
    child = [
        sys.executable,
        "-m",
        "benchmarks.surface",
        str(path),
        "--only-large",
        "--large",
        str(given.large),
    ]
    told = subprocess.run(child, capture_output=True, text=True, check=True).stdout
    figures = {
        "resolution": given.resolution,
        "field_cells": field.resolution,
        "threads": torch.get_num_threads(),
        "whole_grid_s": round(dense_seconds, 3),
        "near_surface_s": round(block_seconds, 3),
        "times_faster": round(dense_seconds / block_seconds, 2),
        "faces": [len(dense[1]), len(blocks[1])],
        "watertight": is_watertight(blocks[1]),
        "max_distance_voxels": apart(dense[0], blocks[0]) * (given.resolution - 1) / 2,
        "large": json.loads(told),
    }
    report("surface", figures, given.out)


def whole_grid(field: RadianceField, resolution: int, level: float | None = None) -> Surface:
    """Every node evaluated, one call of PyMCubes: the obvious way."""
    density = sample_density(field, resolution)
    level = auto_threshold(density) if level is None else level
    solid = np.pad(np.minimum(density * np.float32(0.5 / level), 1).astype(np.float64), 1)
    vertices, faces = mcubes.marching_cubes(solid, 0.5)
    return (vertices - 1) * (2 / (resolution - 1)) - 1, faces.astype(np.int64)


def near_surface(field: RadianceField, resolution: int) -> Surface:
    """Blocks near the surface alone."""
    look = look_at(field, resolution)
    level = auto_threshold(look.density, look.spacing)
    return marching_cubes(sample_near_surface(field, resolution, level, look), level)


def large(field: RadianceField, resolution: int) -> dict[str, Any]:
    """Seconds and peak memory of the whole surface, cleaned, pulled to the level and decimated."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    fine, few, _ = extract_surface(field, resolution=resolution, target_faces=40_000)
    return {
        "resolution": resolution,
        "seconds": round(time.perf_counter() - start, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "before_gib": round(before / 2**20, 2),
        "fine_faces": len(fine.faces),
        "faces": len(few.faces),
        "watertight": is_watertight(few.faces),
    }


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance of a vertex of one to the nearest of the other, both ways."""
    return float(max(KDTree(b).query(a)[0].max(), KDTree(a).query(b)[0].max()))


def best(repeat: int, work: Callable[[], Surface]) -> tuple[Surface, float]:
    """The last result and the shortest time."""
    seconds, result = [], None
    for _ in range(repeat):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    assert result is not None
    return result, min(seconds)


if __name__ == "__main__":
    main()
