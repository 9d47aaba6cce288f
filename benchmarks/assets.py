"""Whole assets: the judge on eight rendered views, before and after refinement, and the mesh's own checks.

    python -m benchmarks.assets [--only NOUN ...] [--seeds 0 1] [--out benchmarks/results] [--runs runs-benchmark]
                               [--processes 1]

Runs ``slipcast make`` (finished runs are kept, so an interrupted benchmark goes on). "Before" meshes
the lifted field with the same settings.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from slipcast.configs.loading import load_config
from slipcast.pipeline.exporters.preview import render_mesh, ring_cameras
from slipcast.pipeline.finished import read_run
from slipcast.pipeline.make import make
from slipcast.pipeline.run.manifest import read_manifest
from slipcast.pipeline.run.models import open_models
from slipcast.starter.judge import Judge, load_judge
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.voxels import FrozenGrid
from slipcast.systems.images.files import read_subject
from slipcast.systems.mesh.extraction import extract_surface
from slipcast.systems.mesh.report import report as mesh_report
from slipcast.systems.mesh.report import silhouette_iou
from slipcast.systems.models.known import WEIGHTS
from slipcast.systems.texture.atlas import unwrap
from slipcast.systems.texture.colour_baking import bake
from slipcast.systems.types import Mesh

from .machine import report
from .prompts import HELD_OUT, NOUNS, prompt

GROUND = (0.55, 0.55, 0.55)
VIEWS = 8
# The lift paints the bare colours of surfaces, which need light to be seen as in a picture; refinement paints what
# pictures show, light and all.
LIFTED, REFINED = "soft", "none"


def main() -> None:
    """Make, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=NOUNS, default=NOUNS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--runs", type=Path, default=Path("runs-benchmark"))
    parser.add_argument(
        "--processes", type=int, default=1, help="assets made at once, each on one thread if several"
    )
    given, overrides = parser.parse_known_args()
    workshop = Workshop(given.runs, overrides, threads=1 if given.processes > 1 else 0)
    orders = [(noun, seed) for seed in given.seeds for noun in given.only]
    rows, sheets = [], []
    with ProcessPoolExecutor(given.processes, get_context("spawn")) as pool:
        for row, strip in pool.map(workshop.made, *zip(*orders, strict=True)):
            rows.append(row)
            sheets.append(strip)
            print(row, flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(sheets, 0)).save(given.out / "assets.png")
    report("assets", {"summary": summary(rows), "rows": rows}, given.out)


@dataclass(frozen=True)
class Workshop:
    """Where assets are made and judged; a process loads the models with its first one."""

    runs: Path
    overrides: list[str]
    threads: int

    def made(self, noun: str, seed: int) -> tuple[dict[str, Any], np.ndarray]:
        """Figures and strip of one asset (see ``examine``)."""
        if self.threads:
            torch.set_num_threads(self.threads)
        config, store, judge = _loaded(tuple(self.overrides))
        start = time.perf_counter()
        result = make(prompt(noun), config, out=self.runs, seed=seed, open_models=lambda _: store)
        row, strip = examine(result.run, noun, judge, config)
        return row | {"seed": seed, "seconds": round(time.perf_counter() - start, 1)}, strip


@lru_cache(maxsize=1)
def _loaded(overrides: tuple[str, ...]) -> tuple[Any, Any, Judge]:
    config = load_config("starter", list(overrides))
    return config, open_models(config), load_judge(WEIGHTS / "judge")


def examine(run: Path, noun: str, judge: Judge, config: Any) -> tuple[dict[str, Any], np.ndarray]:
    """Figures of one finished run, and a strip: picture, lifted views, refined views."""
    subject = read_subject(run / "10-image/image.png")
    refined = Mesh.load(read_run(run).mesh_file)
    field = FrozenGrid.load(run / "20-lift/field.safetensors")
    lifted = unwrap(
        extract_surface(
            field, resolution=config.mesh.resolution, target_faces=config.mesh.target_faces
        ).reduced
    )
    lifted = bake(lifted, field, size=512)
    front = orbit_camera(0.0, np.radians(config.image.elevation_deg))
    _, alpha = render_mesh(refined, front, subject.alpha.shape[0], GROUND)
    row = {
        "noun": noun,
        "held_out": noun in HELD_OUT,
        "lifted": judged(judge, lifted, noun, shading=LIFTED),
        "refined": judged(judge, refined, noun, shading=REFINED),
        "front_iou": round(float(silhouette_iou(alpha, subject.alpha)), 3),
        "mesh": mesh_report(refined).as_dict(),
        "texture": textured(run),
    }
    strip = [subject.over(GROUND), *views(lifted, LIFTED)[::2], *views(refined, REFINED)[::2]]
    return row, (np.concatenate(strip, 1) * 255).astype(np.uint8)


def textured(run: Path) -> dict[str, float]:
    """What the mesh stage measured of its texture: dB between mesh and field, how full the atlas is, seams in 1/255."""
    facts = read_manifest(run).stages["mesh"].facts or {}
    return {
        "bake_psnr_db": round(facts["bake_psnr_db"], 2),
        "atlas_used": round(facts["atlas"]["used"], 3),
        "overlap": facts["atlas"]["overlap"],
        "seam_median": round(facts["seams"]["median"], 2),
    }


def views(mesh: Mesh, shading: str) -> list[np.ndarray]:
    """Eight views round the mesh, [128, 128, 3] in [0, 1], the front first."""
    return [render_mesh(mesh, camera, 128, GROUND, shading=shading)[0] for camera in ring_cameras(VIEWS)]


def judged(judge: Judge, mesh: Mesh, noun: str, *, shading: str) -> dict[str, float]:
    """Share of the eight views with the right noun, and share in the domain."""
    pictures = torch.from_numpy(np.stack(views(mesh, shading))).permute(0, 3, 1, 2).float()
    verdict = judge.judge(pictures)
    return {
        "noun": float(np.mean([judge.nouns[index] == noun for index in verdict.noun])),
        "in_domain": float((verdict.in_domain > 0.5).mean()),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over all assets."""
    told: dict[str, Any] = {}
    for when in ("lifted", "refined"):
        for what in ("noun", "in_domain"):
            told[f"{when}_{what}"] = round(float(np.mean([row[when][what] for row in rows])), 3)
    told["front_iou"] = round(float(np.mean([row["front_iou"] for row in rows])), 3)
    for what in ("bake_psnr_db", "atlas_used", "overlap", "seam_median"):
        values = [row["texture"][what] for row in rows]
        told[what] = {"mean": round(float(np.mean(values)), 3), "least": min(values), "most": max(values)}
    told["watertight"] = sum(row["mesh"]["watertight"] for row in rows)
    told["assets"] = len(rows)
    told["most_faces"] = max(row["mesh"]["faces"] for row in rows)
    told["most_components"] = max(row["mesh"]["components"] for row in rows)
    return told


if __name__ == "__main__":
    main()
