# pyright: reportAttributeAccessIssue=false
# pxr comes without type stubs.
"""A small closed object with a seam, an atlas and all maps, and a run folder that holds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from fakes.stage_records import finish

from slipcast.configs.schema import ExportConfig
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.assets.preparing import prepare
from slipcast.systems.mesh.cleaning import vertex_normals
from slipcast.systems.types import Mesh

PROMPT = "a blue pot"
MODELS = {
    "base": {"id": "starter", "revision": "1", "licence": "Apache-2.0"},
    "domain": {"id": "elsewhere", "revision": "2", "licence": "CC0-1.0"},
}


def pot(rows: int = 12, columns: int = 16, *, size: int = 32) -> Mesh:
    """An egg, taller than wide, with a nose to the front (-Y) and off the origin; vertices on the seam are doubled."""
    v, u = np.meshgrid(np.linspace(0, 1, rows + 1), np.linspace(0, 1, columns + 1), indexing="ij")
    around = 2 * np.pi * np.where(u == 1, 0, u)  # the seam's two sides at exactly the same place
    ring = np.sin(np.pi * v) * (v < 1)  # and so the two poles
    x, y, z = 0.3 * ring * np.sin(around), -0.2 * ring * np.cos(around), -0.5 * np.cos(np.pi * v)
    y = np.where((np.abs(v - 0.5) < 1e-9) & ((u == 0) | (u == 1)), -0.4, y)
    vertices = (np.stack([x, y, z], -1) + [0.1, 0.05, 0.02]).astype(np.float32).reshape(-1, 3)
    corner = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    faces = np.concatenate(
        [np.stack([a, b, c], -1)[1:].reshape(-1, 3), np.stack([a, c, d], -1)[:-1].reshape(-1, 3)]
    )
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, size)
    texture = np.stack(np.broadcast_arrays(ramp[None], ramp[::-1, None], np.float64(40)), -1)
    return Mesh(
        vertices=vertices,
        faces=faces.astype(np.int32),
        normals=vertex_normals(vertices, faces),
        uv=np.stack([u, v], -1).astype(np.float32).reshape(-1, 2),
        texture=texture.round().astype(np.uint8),
        normal_map=rng.integers(100, 156, (size, size, 3), np.uint8),
        orm=rng.integers(0, 256, (size, size, 3), np.uint8),
    )


def finished_run(out: Path, mesh: Mesh | None = None, **export: Any) -> Path:
    """A run folder with a finished mesh, as ``slipcast make --until mesh`` leaves it."""
    run = out / "a-blue-pot-3"
    (run / "40-mesh").mkdir(parents=True)
    (mesh or pot()).save(run / "40-mesh" / "mesh.safetensors")
    finish(run / "40-mesh")
    stages = {
        "image": {"status": "finished", "models": MODELS},
        "mesh": {"status": "finished", "models": {}},
    }
    manifest = {"prompt": PROMPT, "seed": 3, "stages": stages, "config": {"export": export}}
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


def made(mesh: Mesh | None = None, settings: ExportConfig | None = None, models: Any = MODELS) -> Asset:
    """The pot, or another mesh, as a run would export it; 0.3 m high if no settings are given."""
    settings = settings or ExportConfig(height_m=0.3)
    return prepare(mesh or pot(), settings, name="pot", prompt=PROMPT, seed=3, models=models)


def usd_mesh(path: Path) -> Any:
    """The one mesh of a USD file."""
    from pxr import Usd, UsdGeom

    stage: Any = Usd.Stage.Open(str(path))
    _STAGES.append(stage)
    (mesh,) = [prim for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh)]
    return UsdGeom.Mesh(mesh)


_STAGES: list[Any] = []  # a prim dies with its stage
