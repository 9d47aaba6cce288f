"""A run as others find it: read from its folder alone, without its models, and without changing anything in it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from ..configs.atomic import explain_os_errors
from ..configs.errors import BadInput, SlipcastError
from ..configs.limits import check_limits
from ..configs.schema import ExportConfig, MakeConfig, MeshConfig
from .run.commands import command
from .run.manifest import MANIFEST, Manifest, find_run, read_manifest
from .run.record import RECORD, is_as_made, read_record
from .stages.table import STAGES, all_stages

T = TypeVar("T", ExportConfig, MeshConfig)


@dataclass(frozen=True)
class FinishedRun:
    """A run whose mesh is finished.

    Attributes:
        path: the run's folder.
        models: {role: {"id", "revision", "licence"}} of every model that a stage used.
        export: the settings that the run was exported with.
        crease_deg: as in the settings of its mesh.
        mesh_file: the painted mesh, or that of the mesh stage where no painted one is newer.
    """

    path: Path
    prompt: str
    seed: int
    models: dict[str, dict[str, Any]]
    export: ExportConfig
    crease_deg: float
    mesh_file: Path


def read_run(where: Path) -> FinishedRun:
    """The run in a folder; a path inside it, such as that of its GLB, leads to it as well.

    Raises:
        BadInput: no run, or one that has no finished mesh.
        SlipcastError: the mesh is not as the run made it (see ``verified``).
    """
    path = find_run(where)
    manifest = read_manifest(path)
    mesh_file = _mesh_file(path, manifest)
    if mesh_file is None:
        raise BadInput(f"{path} has no finished mesh; `{command('make', '--resume', path)}` goes on with it")
    return FinishedRun(
        path=path,
        prompt=manifest.prompt,
        seed=manifest.seed,
        models=manifest.models(),
        export=_settings(ExportConfig, "export", manifest, path),
        crease_deg=_settings(MeshConfig, "mesh", manifest, path).crease_deg,
        mesh_file=verified(mesh_file),
    )


def _mesh_file(run: Path, manifest: Manifest) -> Path | None:
    """The mesh of the last stage that finished one, or None; paint of a mesh that was made anew since does not count.

    Of paint its record is enough: who painted wants that and nothing plainer. ``verified`` says what is wrong with it.
    """
    painted, plain = (_folder(name, run) / "mesh.safetensors" for name in ("paint", "mesh"))
    line = manifest.stages.get("paint")
    if line is not None and line.status == "finished" and _is_recorded(painted):
        return painted
    return plain if plain.is_file() and (plain.parent / RECORD).is_file() else None


def _is_recorded(file: Path) -> bool:
    """Whether a stage's record speaks of a file; a damaged one might."""
    try:
        return (file.parent / RECORD).is_file() and file.name in read_record(file.parent).outputs
    except BadInput:
        return True


def verified(path: Path) -> Path:
    """A file of a finished stage, after a look whether it is, byte for byte, what the stage's record says.

    Files that ``slipcast make --from`` took over as edited by hand are in the record as they were then.

    Raises:
        SlipcastError: the file or the record was changed or damaged since.
    """
    run = path.parent.parent
    again = f"`{command('make', '--resume', run)}` makes it again"
    with explain_os_errors(path, "checking a finished stage"):
        try:
            expected = read_record(path.parent).outputs.get(path.name)
        except BadInput as error:
            raise SlipcastError(f"{error}; {again}") from error
        if not is_as_made(path, expected):
            after = next(
                later.name for stage, later in pairwise(all_stages()) if stage.folder == path.parent.name
            )
            raise SlipcastError(
                f"{path} is not as the run made it, by its hash in {RECORD}; {again}, or if it was edited on purpose, "
                f"`{command('make', '--resume', run, '--from', after)}` takes it as it is"
            )
    return path


def stage_folders(run: Path) -> list[Path]:
    """Where the stages keep their files; what else lies in there is moved away when a stage runs anew."""
    return [run / stage.folder for stage in all_stages()]


def _folder(stage_name: str, run: Path) -> Path:
    return run / next(stage.folder for stage in STAGES if stage.name == stage_name)


def _settings(kind: type[T], stage: str, manifest: Manifest, path: Path) -> T:
    """The settings that a stage of the run was given; a run of an older version lacks some of them."""
    try:
        given = (manifest.config or {}).get(stage, {})
        settings = kind(**{item.name: given[item.name] for item in fields(kind) if item.name in given})
        check_limits(replace(MakeConfig(), **{stage: settings}))
    except (AttributeError, TypeError) as error:
        raise BadInput(f"{path / MANIFEST} holds {stage} settings that cannot be used ({error})") from error
    return settings
