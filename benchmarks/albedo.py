"""How much light is painted into the base colour: against the generator's own albedo, with lit views and without.

    python -m benchmarks.albedo [--nouns teapot vase mug] [--start picture|mesh] [--steps N]
                                [--runs runs-benchmark] [--out benchmarks/results]

A front of each noun as the starter's generator lights it (as in ``benchmarks.fields``) is lifted by the starter, or
begins as the object's own mesh, whose colours are the albedo. Then it is refined with the preset's settings
(``refine.light=none``) and with ``refine.light=point``. At points of the true surface that have a surface of the field
within three cells: mean absolute difference of the two base colours (sRGB, of 255), and how much brighter the field's
is in the mean; all round, where the picture sees (normals within 60 degrees of its camera), and where it does not.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree

from slipcast.configs.loading import load_config
from slipcast.pipeline.run.models import open_models
from slipcast.starter.generator.objects import GeneratedObject
from slipcast.starter.generator.volume import solid_occupancy, surface_samples
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.voxels import FrozenGrid, VoxelField
from slipcast.systems.refine.surface_colour import surface_points
from slipcast.systems.refine.warm_start import warm_start

from .fields import ELEVATION_RAD, made_until, started, thing_of
from .machine import report

LIGHTS = ("none", "point")
_POINTS = 20_000
_REACH = 3 * 2 / 64


def main() -> None:
    """Refine, compare, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nouns", nargs="+", default=["teapot", "vase", "mug"])
    parser.add_argument("--start", choices=("picture", "mesh"), default="picture")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--runs", type=Path, default=Path("runs-benchmark"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "start": given.start, "nouns": {}}
    for noun in given.nouns:
        thing = thing_of(noun)
        settings = started(noun, given.start, given.runs)
        settings += [] if given.steps is None else [f"refine.steps={given.steps}"]
        out = given.runs / f"albedo-{given.start}"
        figures["nouns"][noun] = refined(noun, thing, out, settings)
        report("albedo", figures, given.out)  # after every noun: what was measured stays
    rows = list(figures["nouns"].values())
    figures["mean"] = {
        row: {key: float(np.mean([one[row][key] for one in rows])) for key in rows[0][row]} for row in rows[0]
    }
    report("albedo", figures, given.out)


def refined(noun: str, thing: GeneratedObject, out: Path, settings: list[str]) -> dict[str, dict[str, float]]:
    """Figures of the lifted field and of both refined ones."""
    points, albedo, seen = true_surface(thing)
    figures: dict[str, dict[str, float]] = {}
    store = open_models(load_config("starter", settings))
    for light in LIGHTS:
        config = load_config("starter", [*settings, f"refine.light={light}"])
        folder = made_until("lift", noun, config, out, store)
        if not figures:
            lifted = warm_start(
                FrozenGrid.load(folder / "20-lift/field.safetensors"), config.refine.resolution
            )
            figures["lifted"] = compared(lifted, points, albedo, seen) | {"seconds": 0.0}
        began = time.perf_counter()
        folder = made_until("refine", noun, config, out, store)
        seconds = time.perf_counter() - began
        field = VoxelField.load(folder / "30-refine/field.safetensors")
        figures[f"light={light}"] = compared(field, points, albedo, seen) | {"seconds": round(seconds, 1)}
    return figures


def true_surface(thing: GeneratedObject) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points [N, 3] of the outer surface, their albedo [N, 3] in [0, 255], and whether the picture sees them [N].

    Those that the picture sees have a normal within 60 degrees of the way to its camera; a normal is that of the
    nearest triangle's corner.
    """
    solid = solid_occupancy(thing.vertices, thing.faces)
    points, albedo = surface_samples(thing, np.random.default_rng(0), n=_POINTS, solid=solid)
    points = points.astype(np.float64)
    _, corner = KDTree(thing.vertices).query(points)
    towards = orbit_camera(0.0, ELEVATION_RAD).position.numpy() - points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    seen = (thing.normals[corner] * towards).sum(1) > math.cos(math.radians(60))
    return points, albedo.astype(np.float64), seen


@torch.no_grad()
def compared(field: VoxelField, points: np.ndarray, albedo: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """The field's base colours beside the albedo; ``covered`` is the share of points that have a surface near."""
    _, feet = surface_points(field.raw_density)
    _, colours = field(feet)
    distance, nearest = KDTree(feet.numpy()).query(points)
    near = distance < _REACH
    error = 255 * colours.numpy()[nearest] - albedo
    told = {"covered": float(near.mean())}
    for name, chosen in (("all", near), ("seen", near & seen), ("unseen", near & ~seen)):
        told[f"{name}_error"] = float(np.abs(error[chosen]).mean())
        told[f"{name}_brighter"] = float(error[chosen].mean())
    return {key: round(value, 3) for key, value in told.items()}


if __name__ == "__main__":
    main()
