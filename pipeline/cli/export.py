"""``slipcast export``: more files from a finished run."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import PartlyFailed, exit_codes
from .options import Debug, Json, option

if TYPE_CHECKING:
    from ...configs.schema import ExportConfig
    from ..exporters.exporting import Exported
    from ..finished import FinishedRun
    from ..run.progress import Reporter


LODS = (0.5, 0.25, 0.1)
"""Levels of detail where they are asked for without saying which."""


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    format: Annotated[
        str | None,
        option("glb, gltf, obj, ply, stl, usdz, fbx, blend, with commas; the run's own if left out."),
    ] = None,
    out: Annotated[Path | None, option("Folder for the files; RUN/exports if left out.")] = None,
    name: Annotated[str | None, option("Name of files and object; made of the prompt if left out.")] = None,
    height: Annotated[float | None, option("Height in metres; as the run was exported if left out.")] = None,
    faces: Annotated[
        int | None, option("Reduce the mesh to so many faces; as the run was exported if left out.")
    ] = None,
    roughness: Annotated[
        float | None,
        option("Of the whole surface, 0 glossy to 1 matt; as the run was exported if left out."),
    ] = None,
    textures: Annotated[
        str | None, option("png, jpeg or webp, the smallest; as the run was exported if left out.")
    ] = None,
    lods: Annotated[
        bool,
        option("Levels of detail too: the run's export.lods, or 1/2, 1/4 and 1/10 of the faces.", "--lods"),
    ] = False,
    quads: Annotated[
        bool,
        option("Pair triangles into quads where the format holds them: OBJ, FBX and .blend.", "--quads"),
    ] = False,
    blender: Annotated[
        Path | None, option("The Blender that writes .blend and FBX; looked for if left out.")
    ] = None,
    force: Annotated[bool, option("Replace files that exist.", "--force")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a finished run again, in other formats or another size. Prints the path of each file."""
    with exit_codes(debug=debug, as_json=as_json):
        from ...configs.paths import given_folder, given_path
        from ..blender.process import naming_blender
        from ..finished import read_run
        from ..report.writing import refresh_report
        from ..run.commands import command
        from ..run.progress import for_terminal

        run = given_path(run, "RUN")
        with naming_blender(blender), contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            finished = read_run(run)
            folder = finished.path / "exports" if out is None else given_folder(out, "--out")
            changes = {"height_m": height, "faces": faces, "roughness": roughness, "textures": textures}
            settings = _settings(finished, format, changes, lods=lods, quads=quads)
            exported = _export(finished, settings, folder, name, force=force, console=console)
            if out is None:  # what goes elsewhere leaves the run as it is
                refresh_report(finished.path, console.notice)
        told = {"run": str(finished.path), "folder": str(folder), **exported.told()}
        if not (as_json and exported.failed):
            print(json.dumps(told) if as_json else "\n".join(map(str, exported.paths)))
        if exported.failed:
            formats = exported.failed_formats
            there = any(
                path.suffix[1:] in formats for path in exported.paths
            )  # a level failed, and not the full mesh
            retry = command(
                *("export", run, "--format", ",".join(formats)),
                *_values({"--out": out, "--name": name, "--height": height, "--roughness": roughness}),
                *_values({"--faces": faces, "--textures": textures, "--blender": blender}),
                *_switches({"--lods": lods, "--quads": quads, "--force": force or there}),
            )
            missing = ", ".join(exported.failed)
            raise PartlyFailed(f"{missing} could not be written; `{retry}` tries again", told)


def _values(given: dict[str, Any]) -> list[Any]:
    return [word for option, value in given.items() if value is not None for word in (option, value)]


def _switches(given: dict[str, bool]) -> list[str]:
    return [option for option, wanted in given.items() if wanted]


def _settings(
    run: FinishedRun, formats: str | None, changes: dict[str, Any], *, lods: bool, quads: bool
) -> ExportConfig:
    """What the run was exported with, changed by what the command says; levels of detail are made when asked for."""
    from ...configs.limits import check_limits
    from ...configs.schema import MakeConfig
    from ..exporters.table import check_formats

    levels = (run.export.lods or list(LODS)) if lods else []
    settings = replace(run.export, lods=levels, quads=run.export.quads or quads)
    if formats is not None:
        settings = replace(settings, formats=_formats(formats))
    settings = replace(settings, **{name: value for name, value in changes.items() if value is not None})
    check_limits(MakeConfig(export=settings))
    check_formats(settings.formats, settings.textures)
    return settings


def _export(
    run: FinishedRun,
    settings: ExportConfig,
    folder: Path,
    name: str | None,
    *,
    force: bool,
    console: Reporter,
) -> Exported:
    """Check all that may be wrong, and only then read the mesh and write."""
    from ...configs.atomic import explain_os_errors
    from ..exporters.table import level_stem
    from ..run.prompts import file_name, slug

    if name is None:  # a run of somebody's picture may have no prompt
        stem = slug(run.prompt) if run.prompt else file_name(run.path.absolute().name)
    else:
        stem = file_name(name)
    _check_folder(run, folder)
    stems = [level_stem(stem, number) for number in range(len(settings.lods) + 1)]
    _check_existing(folder, stems, settings.formats, force=force)

    from ..exporters.exporting import Source, export_files

    console.stage_started("export")
    domain = run.models.get("domain")
    models = run.models if domain is None else run.models | {"domain": _look(domain) | domain}
    source = Source(run.prompt, run.seed, models, run.mesh_file, run.crease_deg)
    with explain_os_errors(folder, "making the folder"):
        folder.mkdir(parents=True, exist_ok=True)
    exported = export_files(source, settings, folder, stem=stem, progress=console)
    console.stage_ended("export", f"{len(exported.paths)} files, {exported.bytes / 1e6:.2f} MB")
    return exported


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
    from ..exporters.table import format_names

    known = format_names()
    names = [part.strip().lower().removeprefix(".") for part in given.split(",")]
    names = list(dict.fromkeys(name for name in names if name))
    if not names:
        raise BadInput(f"--format expects one or more of {', '.join(known)}, with commas between them")
    for name in names:
        if name not in known:
            raise unknown_name("format", name, known)
    return names


def _check_folder(run: FinishedRun, folder: Path) -> None:
    from ...configs.errors import BadInput
    from ..finished import stage_folders

    for stage in stage_folders(run.path.resolve()):
        if folder.resolve().is_relative_to(stage):
            raise BadInput(
                f"{folder} belongs to a stage, which moves what others put there aside when it is made anew; "
                "choose another --out"
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
