"""Run folders as ``slipcast make`` leaves them, drawn by hand in milliseconds: what the pages are tested on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from fakes.pot import pot
from PIL import Image

from slipcast.configs.loading import load_config
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.exporters.glb import write_glb
from slipcast.pipeline.report.settings import standard

PROMPT = "a blue vase"
FOLDERS = {
    "image": "10-image",
    "lift": "20-lift",
    "refine": "30-refine",
    "mesh": "40-mesh",
    "export": "50-export",
}
MODEL = {"id": "starter", "revision": "2:abc", "licence": "Apache-2.0"}
FACTS: dict[str, dict[str, Any]] = {
    "image": {"prompt": "a blue vase, front view", "chosen": 1, "ranking": [1, 0], "text_evidence": [0.1, 0.2]},
    "lift": {"solid_fraction": 0.08},
    "refine": {"losses": {"distillation": 0.03, "drift": 0.002}},
    "mesh": {
        "faces": 20000, "vertices": 10000, "components": 1, "euler_number": 0, "watertight": True, "outward": True,
        "target_faces": 20000, "atlas": {"charts": 31, "used": 0.6, "overlap": 0.0}, "seams": {"median": 0.4},
        "bake_psnr_db": 38.1,
    },
    "export": {"files": {"glb": "a-blue-vase.glb"}, "failed": {}, "glb": "a-blue-vase.glb", "height_m": 1.2},
}  # fmt: skip


def nested(settings: dict[str, Any]) -> dict[str, Any]:
    """{"image.steps": 4} -> {"image": {"steps": 4}}"""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        table, _, last = name.rpartition(".")
        (found.setdefault(table, {}) if table else found)[last] = value
    return found


def manifest(prompt: str = PROMPT, seed: int = 3, *, until: str = "export", **changed: Any) -> dict[str, Any]:
    """A manifest whose stages are finished up to ``until``; ``changed`` settings have __ for their dots."""
    assert load_config()
    names = list(FOLDERS)[: list(FOLDERS).index(until) + 1]
    config = nested(standard() | {name.replace("__", "."): value for name, value in changed.items()})
    stages = {
        name: {
            "status": "finished", "folder": FOLDERS[name], "key": "k", "outputs": {}, "facts": FACTS[name],
            "seconds": 1.5 + i, "peak_memory_mb": 500.0 + 100 * i, "resumed": False, "edited": False,
            "models": {"base": MODEL} if name in ("image", "refine") else {},
        }
        for i, name in enumerate(names)
    }  # fmt: skip
    versions = {"python": "3.11.7", "slipcast": "0.1.0"}
    return {
        "format": 1, "prompt": prompt, "seed": seed, "stages": stages, "config": config, "settled": config,
        "versions": versions, "threads": 2,
    }  # fmt: skip


def draw_run(folder: Path, told: dict[str, Any] | None = None, *, mesh: bool = True) -> Path:
    """A run's folder with its pictures and, with ``mesh``, a GLB that opens."""
    told = told or manifest()
    for name in map(str, told["stages"]):
        (folder / FOLDERS.get(name, name)).mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    rng = np.random.default_rng(told["seed"] % 2**32)

    def save(name: str, height: int, width: int, channels: int = 3) -> None:
        if (folder / name).parent.is_dir():
            Image.fromarray(rng.integers(0, 255, (height, width, channels), np.uint8)).save(folder / name)

    save("10-image/image.png", 32, 32, 4)
    save("10-image/candidates.png", 32, 64)
    if mesh:
        save("40-mesh/texture.png", 64, 64)
        save("50-export/preview.png", 64, 192)
        save("50-export/turntable.gif", 32, 32)
        if (folder / "50-export").is_dir():
            write_glb(Asset(pot(), "a-blue-vase", {}), folder / "50-export" / "a-blue-vase.glb")
    return folder
