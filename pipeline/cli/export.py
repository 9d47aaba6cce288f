"""``slipcast export``: more files from a finished run."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import exit_codes

if TYPE_CHECKING:
    from ...configs.schema import ExportConfig
    from ..exporters.levels import Level
    from ..exporters.writing import Written
    from ..finished import FinishedRun
    from ..run.progress import Reporter


_LODS = (0.5, 0.25, 0.1)  # levels of detail of a run that names none


def _option(sentence: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=sentence, show_default=False, **more)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    format: Annotated[
        str | None, _option("glb, obj, ply, stl, usdz, blend, with commas; the run's own if left out.")
    ] = None,
    out: Annotated[Path | None, _option("Folder for the files; RUN/exports if left out.")] = None,
    name: Annotated[str | None, _option("Name of files and object; made of the prompt if left out.")] = None,
    height: Annotated[float | None, _option("Height in metres; as the run was exported if left out.")] = None,
    lods: Annotated[
        bool,
        _option("Levels of detail too: the run's export.lods, or 1/2, 1/4 and 1/10 of the faces.", "--lods"),
    ] = False,
    quads: Annotated[
        bool, _option("Pair triangles into quads where the format holds them: OBJ and .blend.", "--quads")
    ] = False,
    blender: Annotated[
        Path | None, _option("The Blender that writes .blend; looked for if left out.")
    ] = None,
    force: Annotated[bool, _option("Replace files that exist.", "--force")] = False,
    as_json: Annotated[bool, _option("Print one JSON object.", "--json")] = False,
    debug: Annotated[bool, _option("Show the traceback of an error.", "--debug")] = False,
) -> None:
    """Write a finished run again, in other formats or another size. Prints the path of each file."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..blender.process import VARIABLE
        from ..finished import read_run
        from ..run.progress import for_terminal

        if blender is not None:
            os.environ[VARIABLE] = str(blender)  # writers all take the same two arguments
        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            finished = read_run(run)
            folder = out or finished.path / "exports"
            settings = _settings(finished, format, height, lods=lods, quads=quads)
            written, levels = _export(finished, settings, folder, name, force=force, console=console)
        told = {"run": str(finished.path), "folder": str(folder), **_told(written)}
        told["lods"] = [
            {"fraction": level.fraction, "faces": level.faces, **_told(level.written)} for level in levels
        ]
        paths = [path for part in (told, *told["lods"]) for path in part["files"].values()]
        print(json.dumps(told) if as_json else "\n".join(paths))


def _told(written: Written) -> dict[str, Any]:
    return {
        "files": {kind: str(path) for kind, path in written.files.items()},
        "failed": written.failed,
    }


def _settings(
    run: FinishedRun, formats: str | None, height_m: float | None, *, lods: bool, quads: bool
) -> ExportConfig:
    """What the run was exported with, changed by what the command says; levels of detail are made when asked for."""
    from ...configs.limits import check_limits
    from ...configs.schema import MakeConfig

    levels = (run.export.lods or list(_LODS)) if lods else []
    settings = replace(run.export, lods=levels, quads=run.export.quads or quads)
    if formats is not None:
        settings = replace(settings, formats=_formats(formats))
    if height_m is not None:
        settings = replace(settings, height_m=height_m)
    check_limits(MakeConfig(export=settings))
    return settings


def _export(
    run: FinishedRun,
    settings: ExportConfig,
    folder: Path,
    name: str | None,
    *,
    force: bool,
    console: Reporter,
) -> tuple[Written, list[Level]]:
    """Check all that may be wrong, and only then read the mesh and write."""
    from ...configs.atomic import explain_os_errors
    from ..exporters.table import level_stem
    from ..run.prompts import file_name, slug

    stem = slug(run.prompt) if name is None else file_name(name)
    formats, lods = settings.formats, settings.lods
    _check_folder(run, folder)
    stems = [level_stem(stem, number) for number in range(len(lods) + 1)]
    _check_existing(folder, stems, formats, force=force)
    if lods:
        _check_field(run)

    from ...systems.field.voxels import VoxelField
    from ...systems.types import Mesh
    from ..assets.preparing import prepare
    from ..exporters.levels import write_levels
    from ..exporters.writing import notices, write_formats
    from ..finished import verified

    console.stage_started("export")
    mesh, domain = Mesh.load(run.mesh_file), run.models.get("domain")
    models = run.models if domain is None else run.models | {"domain": _look(domain) | domain}
    asset_of = partial(prepare, settings=settings, prompt=run.prompt, seed=run.seed, models=models)
    asset, levels = asset_of(mesh, name=stem), []
    field = VoxelField.load(verified(run.field_file)) if lods else None
    with explain_os_errors(folder, "making the folder"):
        folder.mkdir(parents=True, exist_ok=True)
    written = write_formats(asset, folder, formats, advance=console.task("writing files", len(formats)))
    for sentence in notices(written, f"slipcast export {run.path}"):
        console.notice(sentence)
    if field is not None:
        kinds = list(written.files)  # a format that failed for the full mesh is told once
        levels = write_levels(
            mesh,
            field,
            lods,
            folder,
            kinds,
            stem=stem,
            asset_of=asset_of,
            crease_deg=run.crease_deg,
            progress=console,
        )
    count = sum(len(part.files) for part in (written, *(level.written for level in levels)))
    console.stage_ended("export", f"{count} files")
    return written, levels


def _look(domain: dict[str, Any]) -> dict[str, Any]:
    """What a run's domain says of its things, for runs that did not write it down; nothing if it has gone since."""
    from ...configs.errors import BadInput
    from ...configs.schema import MakeConfig
    from ..run.models import open_models

    try:
        return open_models(MakeConfig(domain=str(domain.get("id")))).look()
    except BadInput:
        return {}


def _formats(given: str) -> list[str]:
    """``"glb, .OBJ"`` -> ["glb", "obj"], each a format that there is."""
    from ...configs.errors import BadInput
    from ...configs.names import unknown_name
    from ..exporters.table import WRITERS

    names = [part.strip().lower().removeprefix(".") for part in given.split(",")]
    names = list(dict.fromkeys(name for name in names if name))
    if not names:
        raise BadInput(f"--format expects one or more of {', '.join(WRITERS)}, with commas between them")
    for name in names:
        if name not in WRITERS:
            raise unknown_name("format", name, WRITERS)
    return names


def _check_folder(run: FinishedRun, folder: Path) -> None:
    from ...configs.errors import BadInput
    from ..finished import stage_folders

    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file, not a folder; use another --out")
    for stage in stage_folders(run.path.resolve()):
        if folder.resolve().is_relative_to(stage):
            raise BadInput(
                f"{folder} is a stage's own, which would run again if anything was added; choose another --out"
            )


def _check_field(run: FinishedRun) -> None:
    from ...configs.errors import BadInput

    if not run.field_file.is_file():
        raise BadInput(
            f"--lods paints from the run's refined field, and {run.field_file} is not there; leave --lods out, or "
            f'`slipcast make "{run.prompt}" --seed {run.seed} --out {run.path.parent} --from refine` makes it again'
        )


def _check_existing(folder: Path, stems: list[str], formats: list[str], *, force: bool) -> None:
    from ...configs.errors import BadInput
    from ..exporters.table import paths_of

    wanted = [path for stem in stems for name in formats for path in paths_of(name, folder, stem)]
    there = [path for path in wanted if path.exists()]
    blocked = next((path for path in there if path.is_dir()), None)
    if blocked:
        raise BadInput(f"{blocked} is a folder, so no file can be written there; use another --name or --out")
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise BadInput(
            f"{there[0]} exists already{more}; --force replaces what exists, --name or --out keeps it"
        )
