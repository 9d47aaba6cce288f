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

from ...configs.stopping import check_stop
from ..run.signals import stop_on_signals
from .batch import batch
from .blender import blender
from .console import Commands, PartlyFailed, exit_codes
from .evaluate import evaluate
from .export import export
from .image import image
from .report import report
from .runs import runs
from .staged import run
from .streams import make_streams_safe

if TYPE_CHECKING:
    from ..make import MakeResult
    from ..run.manifest import Asked

app = typer.Typer(
    name="slipcast",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Teach a diffusion model a visual domain, and make textured 3D assets of it from a prompt.",
)
starter = typer.Typer(no_args_is_help=True, help="The offline models that ship with slipcast.")
app.add_typer(starter, name="starter")
app.add_typer(batch, name="batch")
app.add_typer(blender, name="blender")
app.add_typer(evaluate, name="eval")

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
    prompt: Annotated[
        str | None, typer.Argument(help="What to make, in quotes; none with --resume.", show_default=False)
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings, such as refine.steps=100.", show_default=False),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="A preset's name, or a YAML file.", show_default="starter")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder that holds the runs.", show_default="runs")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="Seed of every random draw.", show_default="0")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Go on with the run in this folder; it knows its prompt and settings."
        ),
    ] = None,
    from_stage: Annotated[
        str | None,
        typer.Option("--from", help="Run this stage and the later ones anew; keep the earlier as they are."),
    ] = None,
    until_stage: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a textured 3D asset: image, lift, refine, mesh, export. The last line printed is the path of the GLB."""
    with exit_codes(debug=debug, as_json=as_json):
        words = [word for word in (prompt, *(overrides or [])) if word is not None]
        asked = _resumed(resume, words, config, out, seed) if resume else _asked(words, config, seed)

        from ..make import make as run_make
        from ..run.progress import for_terminal

        check_stop()
        # Libraries that print would spoil stdout, which holds the result alone.
        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            result = run_make(
                asked.prompt,
                asked.config,
                out=out or Path("runs"),
                seed=asked.seed,
                resume=asked.run,
                from_stage=from_stage,
                until_stage=until_stage,
                console=console,
            )
        told = _as_json(asked.prompt, asked.seed, result)
        if not (as_json and result.failed):
            print(json.dumps(told) if as_json else result.primary)
        if result.failed:
            missing = ", ".join(result.failed)
            raise PartlyFailed(f"{missing} could not be written; the same command tries again", told)


def _asked(words: list[str], config: str | None, seed: int | None) -> Asked:
    from ...configs.errors import BadInput
    from ...configs.loading import load_config
    from ..run.manifest import Asked
    from ..run.prompts import check_prompt

    if not words:
        raise BadInput('make expects a prompt, such as "a blue vase", or --resume RUN')
    prompt = check_prompt(words[0])
    return Asked(prompt, 0 if seed is None else seed, load_config(config or "starter", words[1:]))


def _resumed(
    run: Path, overrides: list[str], config: str | None, out: Path | None, seed: int | None
) -> Asked:
    from ...configs.errors import BadInput
    from ..run.manifest import asked_of

    for option, value in (("--config", config), ("--out", out), ("--seed", seed)):
        if value is not None:
            raise BadInput(f"--resume takes folder, seed and settings from {run}; leave {option} out")
    if overrides and "=" not in overrides[0]:
        raise BadInput(f"--resume takes the prompt from {run}; leave {overrides[0]!r} out")
    return asked_of(run, overrides)


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
app.command()(run)
app.command()(runs)
app.command()(export)
app.command()(report)


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
    with exit_codes(debug=debug, as_json=as_json, at_once=True):
        from .fetch import fetch_command

        fetch_command(name, as_json, full_precision=full_precision, allow_pickle=allow_pickle)


@app.command()
def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Say what this machine can run: Python, torch, threads, memory, disk, optional packages, starter models."""
    with exit_codes(debug=debug, as_json=as_json, at_once=True):
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
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the starter models again from nothing. A stopped build goes on where it was."""
    with exit_codes(debug=debug, as_json=as_json):
        from ...configs.errors import BadInput

        if preset not in ("cpu", "gpu"):
            raise BadInput(f"--preset expects cpu or gpu, not {preset!r}")
        from ...starter.build import build

        with contextlib.redirect_stdout(sys.stderr):
            weights = build(preset, minutes=minutes, out=out, from_shipped=from_shipped)
        print(json.dumps({"weights": str(weights)}) if as_json else weights)


def main() -> None:
    """The console script."""
    make_streams_safe()
    with stop_on_signals():
        app(prog_name="slipcast")


if __name__ == "__main__":
    main()
