"""Do artists get what we made? Every asset written, read back by others, drawn by Blender, and compared.

    python -m benchmarks.blender_check RUNS [--limit N] [--meshes 10] [--out benchmarks/results] [--files DIR]

For each finished run under RUNS, and for meshes made of the starter's generator: GLB and .blend are written; Khronos'
validator, trimesh and Blender read them; Cycles draws the imported GLB without light, and so does our own rasteriser
the mesh in memory, from one camera. Needs a Blender (SLIPCAST_BLENDER=PATH) and, for the validator, node and npm's
gltf-validator (SLIPCAST_GLTF_VALIDATOR). blender_check.png shows the pairs of pictures, the worst first.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.pipeline.blender.process import find_blender
from slipcast.pipeline.run.progress import for_terminal

from .blender_figures import examine
from .blender_subjects import subjects
from .gltf_validation import find_validator
from .machine import report

SHOWN_PAIRS = 12


@dataclass(frozen=True)
class Limit:
    """What a figure may be at most, or at least; the other one is None."""

    at_most: float | None = None
    at_least: float | None = None

    def holds(self, value: float | None) -> bool:
        """False for a figure that could not be found out."""
        if value is None:
            return False
        return value <= self.at_most if self.at_most is not None else value >= (self.at_least or 0)

    def worst(self, values: list[float]) -> float:
        """The value that is nearest to failing, or furthest beyond."""
        return max(values) if self.at_most is not None else min(values)


LIMITS: dict[str, Limit] = {
    "validator_issues": Limit(at_most=0),  # errors and warnings
    "trimesh_distance_m": Limit(at_most=1e-4),  # of each vertex to the nearest one of the other, both ways
    "blender_distance_m": Limit(at_most=1e-4),  # the same in Blender's world: +Z up, front -Y
    "blend_bounds_m": Limit(at_most=1e-4),
    "lost_faces": Limit(at_most=0),  # by trimesh, Blender's importer or the .blend
    "odd_materials": Limit(at_most=0),  # files with more or less than one
    "loose_textures": Limit(at_most=0),  # not packed, missing, or not there at all
    "open_surfaces": Limit(at_most=0),  # 1 if not closed or inside out, judged on joined vertices
    "degenerate_faces": Limit(at_most=0),
    "uv_outside": Limit(at_most=0),  # coordinates outside [0, 1]
    "atlas_use": Limit(at_least=0.6),  # share of the texels in a chart
    "atlas_overlap": Limit(at_most=0.005),  # share of those in several faces
    "seam_difference": Limit(at_most=2),  # of 255, the median across seams
    "silhouette_iou": Limit(at_least=0.97),
    "colour_error": Limit(at_most=3),  # of 255, mean over channels of pixels that both cover wholly
}


def main() -> None:
    """Check all, print a table, keep JSON and pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    parser.add_argument("--limit", type=int, help="runs at most")
    parser.add_argument("--meshes", type=int, default=10, help="meshes of the generator")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--files", type=Path, help="keep the GLB and .blend files here")
    given = parser.parse_args()
    try:
        blender = find_blender()
        found, skipped = subjects(given.runs, given.limit, given.meshes)
    except BadInput as error:
        sys.exit(str(error))
    validator = find_validator()
    rows, pairs = [], []
    with contextlib.ExitStack() as stack:
        console = stack.enter_context(for_terminal())
        folder = given.files or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        if validator is None:
            console.notice("gltf-validator is not installed, so every asset fails its check")
        console.stage_started("blender check")
        advance = console.task("assets", len(found))
        for name, make in found:
            start = time.perf_counter()
            try:
                asset = make()
                made = time.perf_counter()
                row, pair = examine(asset, folder, blender, validator)
                pairs.append((row["colour_error"] or math.inf, pair))
                row |= {"made_s": round(made - start, 1), "checked_s": round(time.perf_counter() - made, 1)}
            except SlipcastError as error:
                row = {"error": str(error)}
            rows.append({"name": name, **row, "failed": failures(row)})
            advance()
    figures = {
        "blender": ".".join(map(str, blender.version)),
        "validator": validator is not None,
        "skipped": skipped,
        "summary": summary(rows),
        "rows": rows,
    }
    report("blender_check", figures, given.out)
    if pairs:
        worst = [pair for _, pair in sorted(pairs, key=lambda entry: -entry[0])[:SHOWN_PAIRS]]
        Image.fromarray(sheet(worst)).save(given.out / "blender_check.png")
    print(table(figures["summary"]))


def failures(row: Mapping[str, Any]) -> list[str]:
    """The names of the checks that an asset fails; all of them if an error kept it from being looked at."""
    return [name for name, limit in LIMITS.items() if not limit.holds(row.get(name))]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """For each check its limit, worst and mean figure, and how many assets fail."""
    told: dict[str, Any] = {}
    for name, limit in LIMITS.items():
        values = [row[name] for row in rows if row.get(name) is not None]
        told[name] = {
            "limit": limit.at_most if limit.at_most is not None else limit.at_least,
            "worst": limit.worst(values) if values else None,
            "mean": float(np.mean(values)) if values else None,
            "failing": sum(name in row["failed"] for row in rows),
        }
    return {"assets": len(rows), "failing": sum(bool(row["failed"]) for row in rows), "checks": told}


def table(told: Mapping[str, Any]) -> str:
    """The summary for people."""
    lines = [f"{'check':20} {'limit':>9} {'worst':>9} {'mean':>9} {'failing':>8}"]
    for name, line in told["checks"].items():
        figures = ["-" if line[key] is None else f"{line[key]:.3g}" for key in ("limit", "worst", "mean")]
        lines.append(f"{name:20} {figures[0]:>9} {figures[1]:>9} {figures[2]:>9} {line['failing']:>8}")
    return "\n".join([*lines, f"{told['assets']} assets, {told['failing']} failing"])


def sheet(pairs: list[np.ndarray]) -> np.ndarray:
    """Pairs of pictures, ours left and Cycles' right, three to a row."""
    blank = np.full_like(pairs[0], 255)
    padded = pairs + [blank] * (-len(pairs) % 3)
    rows = [np.concatenate(padded[start : start + 3], 1) for start in range(0, len(padded), 3)]
    return np.concatenate(rows, 0)


if __name__ == "__main__":
    main()
