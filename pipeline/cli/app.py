"""The ``slipcast`` command. Results on stdout, everything else on stderr.

Only typer is imported here; what a command needs is imported when it runs, so that ``slipcast --help`` is quick.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from ...configs.stopping import asked_to_stop
from ..run.signals import stop_on_signals
from .batch_asking import batch
from .blender import blender
from .console import STOPPED, Commands, exit_codes
from .domain_keeping import domain
from .export import export
from .guidance import guidance
from .image import image
from .make import make
from .options import AllowPickle, Debug, Json
from .report import report
from .runs import runs
from .staged import run
from .streams import make_streams_safe
from .studio import studio
from .tables import evaluate
from .threestudio import threestudio

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
app.add_typer(domain, name="domain")
app.add_typer(evaluate, name="eval")
app.add_typer(guidance, name="guidance")
app.add_typer(threestudio, name="threestudio")


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


app.command()(make)
app.command()(image)
app.command()(run)
app.command()(runs)
app.command()(export)
app.command()(report)
app.command()(studio)


@app.command()
def fetch(
    name: Annotated[
        str | None, typer.Argument(help="An alias or a hub id; without it the aliases are listed.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="A preset or YAML file, all of whose models are fetched.", show_default=False),
    ] = None,
    full_precision: Annotated[
        bool, typer.Option("--full-precision", help="Weights in float32 even where there are fp16 ones.")
    ] = False,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Download models for offline use. Each line printed is a folder, or file."""
    with exit_codes(debug=debug, as_json=as_json, at_once=True):
        from .fetch import fetch_command

        fetch_command(name, as_json, config, full_precision=full_precision, allow_pickle=allow_pickle)


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
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="With --from-shipped: codec, domain or lift alone, from its own weights; may be given again.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the starter models again from nothing. A stopped build goes on where it was."""
    with exit_codes(debug=debug, as_json=as_json):
        from ...configs.errors import BadInput

        if preset not in ("cpu", "gpu"):
            raise BadInput(f"--preset expects cpu or gpu, not {preset!r}")
        from ...configs.paths import given_folder
        from ...starter.build import build

        out = None if out is None else given_folder(out, "--out")
        with contextlib.redirect_stdout(sys.stderr):
            weights = build(preset, minutes=minutes, out=out, from_shipped=from_shipped, only=only or ())
        print(json.dumps({"weights": str(weights)}) if as_json else weights)


def main() -> None:
    """The console script."""
    make_streams_safe()
    with stop_on_signals():
        try:
            app(prog_name="slipcast")
        except (SystemExit, KeyboardInterrupt) as end:
            # A second signal may raise outside of any command's body, where typer takes it for Ctrl-C or lets it pass.
            number, code = asked_to_stop(), end.code if isinstance(end, SystemExit) else None
            if number is None or code not in (None, 128 + signal.SIGINT) or code == 128 + number:
                raise
            print(f"slipcast: {STOPPED}", file=sys.stderr)
            raise SystemExit(128 + number) from None


if __name__ == "__main__":
    main()
