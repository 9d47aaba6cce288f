"""A run as others find it: read from its folder alone, without its models, and without changing anything in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ..configs.errors import BadInput
from ..configs.limits import check_limits
from ..configs.schema import ExportConfig, MakeConfig, MeshConfig
from .run.commands import command
from .run.folder import RECORD
from .stages.table import STAGES

MANIFEST = "manifest.json"
T = TypeVar("T", ExportConfig, MeshConfig)


@dataclass(frozen=True)
class FinishedRun:
    """A run whose mesh is finished.

    Attributes:
        path: the run's folder.
        models: {role: {"id", "revision", "licence"}} of every model that a stage used.
        export: the settings that the run was exported with.
        crease_deg: as in the settings of its mesh.
        field_file: where the refined radiance field lies, if it was kept.
    """

    path: Path
    prompt: str
    seed: int
    models: dict[str, dict[str, Any]]
    export: ExportConfig
    crease_deg: float
    mesh_file: Path
    field_file: Path


def read_run(where: Path) -> FinishedRun:
    """The run in a folder; a path inside it, such as that of its GLB, leads to it as well.

    Raises:
        BadInput: no run, or one that has no finished mesh.
    """
    path = next((p for p in (where, *where.absolute().parents[:2]) if (p / MANIFEST).is_file()), None)
    if path is None or not where.exists():
        raise BadInput(_no_run(where))
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        prompt, seed, stages = str(manifest["prompt"]), int(manifest["seed"]), dict(manifest["stages"])
        models: dict[str, dict[str, Any]] = {}
        for line in stages.values():
            for role, told in line.get("models", {}).items():
                models[role] = {**told, **models.get(role, {})}  # the stage that used it first knows best
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{path / MANIFEST} is not the manifest of a slipcast run ({type(error).__name__}: {error})"
        ) from error
    mesh_file = _folder("mesh", path) / "mesh.safetensors"
    if not (mesh_file.is_file() and (mesh_file.parent / RECORD).is_file()):
        raise BadInput(f"{path} has no finished mesh; `{command('make', '--resume', path)}` goes on with it")
    field_file = _folder("refine", path) / "field.safetensors"
    return FinishedRun(
        path=path,
        prompt=prompt,
        seed=seed,
        models=models,
        export=_settings(ExportConfig, "export", manifest, path),
        crease_deg=_settings(MeshConfig, "mesh", manifest, path).crease_deg,
        mesh_file=mesh_file,
        field_file=field_file,
    )


def stage_folders(run: Path) -> list[Path]:
    """Where the stages keep their files; what else lies in there makes a stage run anew."""
    return [_folder(stage.name, run) for stage in STAGES]


def _folder(stage_name: str, run: Path) -> Path:
    return run / next(stage.folder for stage in STAGES if stage.name == stage_name)


def _no_run(where: Path) -> str:
    if not where.exists():
        return f"there is no folder {where}; give the folder of a run, such as runs/a-blue-vase-0"
    inside = sorted(file.parent.name for file in where.glob(f"*/{MANIFEST}")) if where.is_dir() else []
    if inside:
        return f"{where} holds runs but is none; give one of them, such as {where / inside[0]}"
    return f"{where} is not the folder of a run (it has no {MANIFEST}); give one, such as runs/a-blue-vase-0"


def _settings(kind: type[T], stage: str, manifest: Mapping[str, Any], path: Path) -> T:
    """The settings that a stage of the run was given; a run of an older version lacks some of them."""
    try:
        given = manifest.get("config", {}).get(stage, {})
        settings = kind(**{item.name: given[item.name] for item in fields(kind) if item.name in given})
        check_limits(replace(MakeConfig(), **{stage: settings}))
    except (AttributeError, TypeError) as error:
        raise BadInput(f"{path / MANIFEST} holds {stage} settings that cannot be used ({error})") from error
    return settings
