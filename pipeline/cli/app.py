"""The ``slipcast`` command. Results on stdout, everything else on stderr.

Only typer is imported here; what a command needs is imported when it runs, so that ``slipcast --help`` is quick.
"""

from __future__ import annotations

import contextlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .blender import blender
from .console import exit_codes
from .export import export
from .image import image
from .outcome import partly_failed
from .streams import make_streams_safe

if TYPE_CHECKING:
    from ..make import MakeResult

app = typer.Typer(
    name="slipcast",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Teach a diffusion model a visual domain, and make textured 3D assets of it from a prompt.",
)
starter = typer.Typer(no_args_is_help=True, help="The offline models that ship with slipcast.")
app.add_typer(starter, name="starter")
app.add_typer(blender, name="blender")

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout instead of a path or a table.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"slipcast {metadata.version('slipcast')}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def make(
    prompt: Annotated[str, typer.Argument(help="What to make, in quotes.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings, such as refine.steps=100.", show_default=False),
    ] = None,
    config: Annotated[str, typer.Option(help="A preset's name, or the path of a YAML file.")] = "starter",
    out: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of every random draw.")] = 0,
    from_stage: Annotated[
        str | None,
        typer.Option("--from", help="Run this stage and the later ones anew; keep the earlier as they are."),
    ] = None,
    until_stage: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a textured 3D asset: image, lift, refine, mesh, export. The last line printed is the path of the GLB."""
    with exit_codes(debug=debug):
        from ...configs.loading import load_config
        from ..run.prompts import check_prompt

        prompt = check_prompt(prompt)
        settings = load_config(config, overrides or [])

        from ..make import make as run_make
        from ..run.progress import for_terminal

        # Libraries that print would spoil stdout, which holds the result alone.
        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            result = run_make(
                prompt,
                settings,
                out=out,
                seed=seed,
                from_stage=from_stage,
                until_stage=until_stage,
                console=console,
            )
        print(json.dumps(_as_json(prompt, seed, result)) if as_json else result.primary)
        if result.failed:
            partly_failed(f"{', '.join(result.failed)} could not be written; the same command tries again")


def _as_json(prompt: str, seed: int, result: MakeResult) -> dict[str, object]:
    return {
        "prompt": prompt,
        "seed": seed,
        "run": str(result.run),
        "folder": str(result.folder),
        "glb": None if result.glb is None else str(result.glb),
        "stages": {
            name: {
                "made": name in result.made,
                "seconds": record.seconds,
                "peak_memory_mb": record.peak_memory_mb,
                "facts": record.facts,
            }
            for name, record in result.records.items()
        },
    }


app.command()(image)
app.command()(export)


@app.command()
def fetch(
    name: Annotated[
        str | None, typer.Argument(help="An alias or a hub id; without it the aliases are listed.")
    ] = None,
    full_precision: Annotated[
        bool, typer.Option("--full-precision", help="Weights in float32 even where there are fp16 ones.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Take pickled weights where there are no others.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Download a model for offline use. The last line printed is its folder."""
    with exit_codes(debug=debug):
        from .fetch import fetch_command

        fetch_command(name, as_json, full_precision=full_precision, allow_pickle=allow_pickle)


@app.command()
def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Say what this machine can run: Python, torch, threads, memory, disk, optional packages, starter models."""
    with exit_codes(debug=debug):
        from .doctor import examine, report

        with contextlib.redirect_stdout(sys.stderr):
            findings = examine(Path.cwd())
        print(json.dumps(findings) if as_json else report(findings))


@starter.command("build")
def starter_build(
    preset: Annotated[
        str, typer.Option(help="cpu or gpu: how large the models and how long the training.")
    ] = "cpu",
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="Training time in all; the preset's own if left out.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for data, checkpoints and weights.", show_default=False)
    ] = None,
    from_shipped: Annotated[
        bool,
        typer.Option(
            "--from-shipped", help="Train the shipped models further instead, on objects new to them."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Make the starter models again from nothing. A stopped build goes on where it was."""
    with exit_codes(debug=debug):
        from ...configs.errors import BadInput

        if preset not in ("cpu", "gpu"):
            raise BadInput(f"--preset expects cpu or gpu, not {preset!r}")
        from ...starter.build import build

        with contextlib.redirect_stdout(sys.stderr):
            weights = build(preset, minutes=minutes, out=out, from_shipped=from_shipped)
        print(weights)


def main() -> None:
    """The console script."""
    make_streams_safe()
    app(prog_name="slipcast")


if __name__ == "__main__":
    main()
