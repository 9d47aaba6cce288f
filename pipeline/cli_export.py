"""``slipcast export``: more files from a finished run."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import exit_codes

if TYPE_CHECKING:
    from .exporters.writing import Written
    from .finished import FinishedRun
    from .progress import Progress


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
    blender: Annotated[
        Path | None, _option("The Blender that writes .blend; looked for if left out.")
    ] = None,
    force: Annotated[bool, _option("Replace files that exist.", "--force")] = False,
    as_json: Annotated[bool, _option("Print one JSON object.", "--json")] = False,
    debug: Annotated[bool, _option("Show the traceback of an error.", "--debug")] = False,
) -> None:
    """Write a finished run again, in other formats or another size. Prints the path of each file."""
    with exit_codes(debug=debug):
        from .blender.process import VARIABLE
        from .finished import read_run
        from .progress import for_terminal

        if blender is not None:
            os.environ[VARIABLE] = str(blender)  # writers all take the same two arguments
        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            finished = read_run(run)
            folder = out or finished.path / "exports"
            written = _export(finished, folder, format, name, height, force=force, console=console)
        told = {
            "run": str(finished.path),
            "folder": str(folder),
            "files": {kind: str(path) for kind, path in written.files.items()},
            "failed": written.failed,
        }
        print(json.dumps(told) if as_json else "\n".join(told["files"].values()))


def _export(
    run: FinishedRun,
    folder: Path,
    formats: str | None,
    name: str | None,
    height: float | None,
    *,
    force: bool,
    console: Progress,
) -> Written:
    """Check all that may be wrong, and only then read the mesh and write."""
    from ..configs.limits import check_limits
    from ..configs.schema import MakeConfig
    from .atomic import explain_os_errors
    from .prompts import file_name, slug

    chosen = run.export.formats if formats is None else _formats(formats)
    settings = (
        replace(run.export, formats=chosen)
        if height is None
        else replace(run.export, formats=chosen, height_m=height)
    )
    check_limits(MakeConfig(export=settings))
    stem = slug(run.prompt) if name is None else file_name(name)
    _check_folder(run, folder)
    _check_existing(folder, stem, chosen, force=force)

    from ..systems.types import Mesh
    from .exporters.preparing import prepare
    from .exporters.writing import notices, write_formats

    mesh, domain = Mesh.load(run.mesh_file), run.models.get("domain")
    models = run.models if domain is None else run.models | {"domain": _look(domain) | domain}
    asset = prepare(mesh, settings, name=stem, prompt=run.prompt, seed=run.seed, models=models)
    with explain_os_errors(folder, "making the folder"):
        folder.mkdir(parents=True, exist_ok=True)
    written = write_formats(asset, folder, chosen, advance=console.task("writing files", len(chosen)))
    for sentence in notices(written, f"slipcast export {run.path}"):
        console.notice(sentence)
    return written


def _look(domain: dict[str, Any]) -> dict[str, Any]:
    """What a run's domain says of its things, for runs that did not write it down; nothing if it has gone since."""
    from ..configs.errors import BadInput
    from ..configs.schema import MakeConfig
    from .models import open_models

    try:
        return open_models(MakeConfig(domain=str(domain.get("id")))).look()
    except BadInput:
        return {}


def _formats(given: str) -> list[str]:
    """``"glb, .OBJ"`` -> ["glb", "obj"], each a format that there is."""
    from ..configs.errors import BadInput
    from ..configs.names import unknown_name
    from .exporters.table import WRITERS

    names = [part.strip().lower().removeprefix(".") for part in given.split(",")]
    names = list(dict.fromkeys(name for name in names if name))
    if not names:
        raise BadInput(f"--format expects one or more of {', '.join(WRITERS)}, with commas between them")
    for name in names:
        if name not in WRITERS:
            raise unknown_name("format", name, WRITERS)
    return names


def _check_folder(run: FinishedRun, folder: Path) -> None:
    from ..configs.errors import BadInput
    from .finished import stage_folders

    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file, not a folder; use another --out")
    for stage in stage_folders(run.path.resolve()):
        if folder.resolve().is_relative_to(stage):
            raise BadInput(
                f"{folder} is a stage's own, which would run again if anything was added; choose another --out"
            )


def _check_existing(folder: Path, stem: str, formats: list[str], *, force: bool) -> None:
    from ..configs.errors import BadInput
    from .exporters.table import paths_of

    there = [path for name in formats for path in paths_of(name, folder, stem) if path.exists()]
    blocked = next((path for path in there if path.is_dir()), None)
    if blocked:
        raise BadInput(f"{blocked} is a folder, so no file can be written there; use another --name or --out")
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise BadInput(
            f"{there[0]} exists already{more}; --force replaces what exists, --name or --out keeps it"
        )
