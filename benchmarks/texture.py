"""A textured mesh out of a refined field: seconds of each step, and how good the atlas and its maps are.

    python -m benchmarks.texture RUN [--faces 40000] [--size 2048] [--resolution 256] [--views 0]
                                [--out benchmarks/results]

RUN is a finished run or a field.safetensors. One process; kernels are compiled before the clock starts. The maps land
beside the figures as texture-*.png with ``--pictures``. ``--views`` is the setting ``mesh.paint_views``; its figures go
into a file of their own.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from slipcast.configs.schema import ExportConfig
from slipcast.pipeline.assets.preparing import prepare
from slipcast.pipeline.exporters.glb import write_glb
from slipcast.systems.field.voxels import VoxelField
from slipcast.systems.mesh.extraction import extract_surface
from slipcast.systems.mesh.report import report as mesh_report
from slipcast.systems.texture.atlas import atlas_report, unwrap
from slipcast.systems.texture.colour_baking import bake
from slipcast.systems.texture.lookup import mip_level, sample_texture
from slipcast.systems.texture.normal_baking import bake_normals, without_ripples
from slipcast.systems.texture.occlusion_baking import bake_occlusion
from slipcast.systems.texture.quality import bake_psnr, seam_difference
from slipcast.systems.texture.texels import surface_texels
from slipcast.systems.texture.view_baking import bake_views
from slipcast.systems.types import Mesh

from .machine import report

Made = TypeVar("Made")


def main() -> None:
    """Time every step once, then check what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--faces", type=int, default=40_000)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--views", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--pictures", action="store_true")
    given = parser.parse_args()
    path = given.run / "30-refine/field.safetensors" if given.run.is_dir() else given.run
    field = VoxelField.load(path).requires_grad_(False)
    make(field, 32, 500, 64, given.views, {})  # the kernels are compiled
    seconds: dict[str, float] = {}
    fine, mesh = make(field, given.resolution, given.faces, given.size, given.views, seconds)
    seconds["total"] = round(sum(seconds.values()), 2)
    psnr = timed(seconds, "checks", lambda: bake_psnr(mesh, field))
    assert mesh.texture is not None
    figures = {
        "size": given.size,
        "resolution": given.resolution,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "fine_faces": len(fine.faces),
        "mesh": mesh_report(mesh).as_dict(),
        "atlas": atlas_report(mesh, given.size).as_dict(),
        "seams": seam_difference(mesh).as_dict(),
        "seams_in_mip_3": seam_difference(mesh, mip=3).as_dict(),
        "inside_charts_in_mip_3": phase_difference(mesh, mip=3),
        "bake_psnr_db": psnr,
    }
    report("texture-views" if given.views else "texture", figures | {"views": given.views}, given.out)
    if given.pictures:
        for name in ("texture", "normal_map", "orm"):
            Image.fromarray(getattr(mesh, name)).save(given.out / f"texture-{name}.png")


def make(
    field: VoxelField, resolution: int, faces: int, size: int, views: int, seconds: dict[str, float]
) -> tuple[Mesh, Mesh]:
    """The fine surface and the finished mesh; ``seconds`` is filled with the time of each step."""
    fine, mesh, _ = timed(
        seconds, "surface", lambda: extract_surface(field, resolution=resolution, target_faces=faces)
    )
    mesh = timed(seconds, "atlas", lambda: unwrap(mesh, size=size))
    texels = timed(seconds, "texels", lambda: surface_texels(mesh, size))
    if views:
        mesh = timed(seconds, "paint", lambda: bake_views(mesh, field, texels, views=views))
    else:
        mesh = timed(seconds, "paint", lambda: bake(mesh, field, size=size, texels=texels))
    shaded = timed(seconds, "ripples", lambda: without_ripples(fine, 2 / field.resolution))
    mesh = timed(seconds, "normal map", lambda: bake_normals(mesh, shaded, size=size, texels=texels))
    mesh = timed(seconds, "occlusion", lambda: bake_occlusion(mesh, size=size, texels=texels))
    timed(seconds, "glb", lambda: _write(mesh))
    return fine, mesh


def phase_difference(mesh: Mesh, mip: int, count: int = 20_000) -> dict[str, float]:
    """What a mip-map's grid alone makes of a colour: points in charts, seen in it and in one that is half a cell aside.

    The two sides of a seam never share a grid, so that they differ by as much whatever lies between the charts.
    Differences as ``quality.SeamReport`` tells them.
    """
    assert mesh.uv is not None and mesh.texture is not None
    rng, size, half = np.random.default_rng(0), mesh.texture.shape[0], 2**mip // 2
    weights = rng.dirichlet((1.0, 1.0, 1.0), count)
    uv = np.einsum("nk,nkc->nc", weights, mesh.uv[mesh.faces[rng.integers(len(mesh.faces), size=count)]])
    moved = np.roll(mesh.texture, (half, half), (0, 1))
    one = sample_texture(mip_level(mesh.texture, mip), uv)
    other = sample_texture(mip_level(moved, mip), uv + np.array([half, -half]) / size)
    median, high = np.percentile(255 * np.abs(one - other).max(axis=1), [50, 95])
    return {"points": count, "median": float(median), "percentile_95": float(high)}


def timed(seconds: dict[str, float], name: str, work: Callable[[], Made]) -> Made:
    """What ``work`` makes; its time is noted."""
    start = time.perf_counter()
    made = work()
    seconds[name] = round(time.perf_counter() - start, 2)
    return made


def _write(mesh: Mesh) -> None:
    asset = prepare(mesh, ExportConfig(), name="texture", prompt="", seed=0, models={})
    with tempfile.TemporaryDirectory() as folder:
        write_glb(asset, Path(folder) / "texture.glb")


if __name__ == "__main__":
    main()
