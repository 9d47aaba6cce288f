# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on disk, read from their manifest.json. Nothing of Blender is needed here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """One run: ``blend`` and ``glb`` are files to import, None where there is none."""

    name: str
    prompt: str
    seed: int
    blend: Path | None
    glb: Path | None

    @property
    def file(self) -> Path | None:
        """The file to import: the .blend, which has the material as it is meant, before the GLB."""
        return self.blend or self.glb


def list_runs(folder: Path, library: Path | None = None) -> list[Run]:
    """The runs of a folder that are readable, the newest first.

    Args:
        library: a folder made by ``slipcast blender library``, looked into for a run's .blend as well.
    """
    manifests = sorted(folder.glob("*/manifest.json"), key=_age)
    found = (_read(manifest, library) for manifest in manifests)
    return [run for run in found if run is not None]


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:  # deleted in the meantime
        return 0.0


def _read(manifest: Path, library: Path | None) -> Run | None:
    folder = manifest.parent
    try:
        told = json.loads(manifest.read_text(encoding="utf-8"))
        prompt, seed = str(told["prompt"]), int(told["seed"])
        export = told.get("stages", {}).get("export", {})
        finished = export.get("status") == "finished"
        files = folder / str(export.get("folder", "50-export"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    blend = _newest(files, "*.blend") if finished else None
    if blend is None and library is not None and (library / f"{folder.name}.blend").is_file():
        blend = library / f"{folder.name}.blend"
    return Run(folder.name, prompt, seed, blend, _glb(files, export) if finished else None)


def _glb(files: Path, export: dict[str, Any]) -> Path | None:
    named = (export.get("facts") or {}).get("glb")
    if isinstance(named, str) and (files / named).is_file():
        return files / named
    return _newest(files, "*.glb")


def _newest(folder: Path, pattern: str) -> Path | None:
    return min(folder.glob(pattern), key=_age, default=None)
