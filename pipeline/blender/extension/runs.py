# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on disk, read from their manifest.json. Nothing of Blender is needed here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INDEX = "slipcast-library.json"  # of a library's folder; slipcast writes it

_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


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
    except _UNREADABLE:
        return None
    blend = _exported(files, export, "blend") if finished else None
    if blend is None and library is not None:
        blend = _in_library(library, folder)
    return Run(folder.name, prompt, seed, blend, _exported(files, export, "glb") if finished else None)


def _exported(files: Path, export: dict[str, Any], kind: str) -> Path | None:
    """The full mesh's file, which the stage named: levels of detail and people's own files may lie beside it."""
    try:
        name = export["facts"]["files"][kind]
    except (KeyError, TypeError):
        return None
    return _file(files, name)


def _in_library(library: Path, run: Path) -> Path | None:
    """The .blend that was made of this run; its name alone does not tell, since runs elsewhere may have the same."""
    try:
        entries = json.loads((library / _INDEX).read_text(encoding="utf-8"))["files"]
        names = [f"{stem}.blend" for stem, entry in entries.items() if entry["run"] == str(run.resolve())]
    except _UNREADABLE:
        return None
    return _file(library, names[0]) if names else None


def _file(folder: Path, name: object) -> Path | None:
    """A file that lies right in the folder."""
    if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
        return None
    return folder / name
