"""``slipcast blender``: an asset library from runs, a run sent to Blender, the extension, and which Blender is used."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import PartlyFailed, exit_codes
from .options import Debug, Json

if TYPE_CHECKING:
    from ..library import Library

blender = typer.Typer(no_args_is_help=True, help="Blender: asset libraries, and the extension.")

Program = Annotated[
    Path | None,
    typer.Option(
        "--blender",
        metavar="PATH",
        help="A Blender 4.2 to 5.x, or a Python that can import bpy; looked for if left out.",
        show_default=False,
    ),
]


@blender.command("library")
def library(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="Folder that holds runs.", show_default=False)],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the library.", show_default=False)],
    program: Program = None,
    force: Annotated[bool, typer.Option("--force", help="Write files anew that are there.")] = False,
    height: Annotated[
        float | None,
        typer.Option(help="Height of each in metres; as exported if left out.", show_default=False),
    ] = None,
    roughness: Annotated[
        float | None,
        typer.Option(help="Of each, 0 glossy to 1 matt; as exported if left out.", show_default=False),
    ] = None,
    faces: Annotated[
        int | None,
        typer.Option(help="Reduce each to so many faces; as exported if left out.", show_default=False),
    ] = None,
    author: Annotated[str, typer.Option(help="Put into every asset.", show_default=False)] = "",
    licence: Annotated[
        str, typer.Option(help="Put into every asset, such as CC0-1.0.", show_default=False)
    ] = "",
    copyright_: Annotated[
        str, typer.Option("--copyright", help="Put into every asset.", show_default=False)
    ] = "",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn every finished run under RUNS into DIR/<run>.blend, with catalogues. The last line printed is DIR."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..blender.process import find_blender
        from ..library import build_library
        from ..run.progress import for_terminal

        changes = {"height_m": height, "roughness": roughness, "faces": faces}
        credits = {"author": author, "licence": licence, "copyright": copyright_}
        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            console.stage_started("blender library")
            built = build_library(
                runs,
                folder,
                lambda: find_blender(program),
                console,
                force=force,
                credits=credits,
                changes=changes,
            )
            for name, reason in built.skipped.items():
                console.notice(f"{name} was skipped: {reason}")
            console.stage_ended("blender library", _summary(built))
        if not (as_json and built.failed):
            print(json.dumps(_as_json(built)) if as_json else built.folder)
        if built.failed:
            raise PartlyFailed(
                f"{len(built.failed)} of the runs could not be written ({', '.join(built.failed)}); "
                "the notes above say why, and the same command tries them again",
                _as_json(built),
            )


def _summary(built: Library) -> str:
    parts = [f"{len(built.made)} written", f"{len(built.kept)} kept", f"{len(built.skipped)} skipped"]
    return ", ".join(parts + ([f"{len(built.failed)} failed"] if built.failed else []))


def _as_json(built: Library) -> dict[str, object]:
    return {
        "library": str(built.folder),
        "made": {name: str(path) for name, path in built.made.items()},
        "kept": {name: str(path) for name, path in built.kept.items()},
        "skipped": built.skipped,
        "failed": built.failed,
    }


@blender.command("send")
def send(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", show_default=False)],
    folder: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="The folder watched; ~/slipcast/to-blender if left out."),
    ] = None,
    kind: Annotated[
        str, typer.Option("--format", help="glb, or blend, which a Blender here writes in some 10 s.")
    ] = "glb",
    program: Program = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put a run's asset into the folder that the extension watches, which imports it. Prints the file's path."""
    with exit_codes(debug=debug, as_json=as_json):
        from ...configs.paths import given_path
        from ..blender.process import find_blender
        from ..run.progress import for_terminal
        from ..sending import FOLDER, send_to_blender

        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            console.stage_started("send")
            path = send_to_blender(
                given_path(run, "RUN"), folder or FOLDER, kind=kind, find=lambda: find_blender(program)
            )
            console.stage_ended("send", f"{path.stat().st_size / 1e6:.2f} MB")
        print(json.dumps({"file": str(path)}) if as_json else path)


@blender.command("extension")
def extension(
    out: Annotated[Path, typer.Option(help="Folder for the zip file.")] = Path(),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the extension for Blender 4.2 and later; in Blender: Preferences, Get Extensions, Install from Disk."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..blender.addon import write_extension

        path = write_extension(out)
        print(json.dumps({"extension": str(path)}) if as_json else path)


@blender.command("check")
def check(program: Program = None, as_json: Json = False, debug: Debug = False) -> None:
    """Say which Blender slipcast uses."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..blender.process import find_blender

        found = find_blender(program)
        facts = {
            "program": str(found.program),
            "version": ".".join(map(str, found.version)),
            "is_python": found.is_python,
        }
        print(json.dumps(facts) if as_json else found)
