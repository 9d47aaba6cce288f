"""``slipcast batch``: many prompts, and what became of them."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .console import PartlyFailed, exit_codes


class _Jobs(TyperGroup):
    """``slipcast batch JOBS`` is ``slipcast batch run JOBS``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


batch = typer.Typer(
    cls=_Jobs,
    no_args_is_help=True,
    help="Many prompts: `slipcast batch JOBS` makes them, `slipcast batch status JOBS` tells how they stand.",
)

Jobs = Annotated[
    Path,
    typer.Argument(
        metavar="JOBS",
        help="TXT (a prompt a line), CSV, JSONL or YAML of prompts and settings, or a folder of pictures.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(help="Folder that holds the runs.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="These only.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@batch.command()
def run(
    jobs: Jobs,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings of all jobs.", show_default=False),
    ] = None,
    config: Annotated[str, typer.Option(help="Preset or YAML file of the jobs that name none.")] = "starter",
    out: Out = Path("runs"),
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes at work; one a GPU, or one for every two cores, if left out.",
            show_default=False,
        ),
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help="Leave out lines that cannot be used, instead of refusing all."),
    ] = False,
    attempts: Annotated[int, typer.Option(min=1, help="A job that fails as often as this is set aside.")] = 3,
    time_limit: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds that one attempt may take.", show_default=False)
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="Memory that a job may take, such as 4G.", show_default=False)
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Work on a Ray cluster, such as auto; local starts one here."),
    ] = None,
    cpus: Annotated[float, typer.Option(min=0.01, help="With --ray: CPUs of a worker.")] = 1.0,
    gpus: Annotated[float, typer.Option(min=0.0, help="With --ray: GPUs of a worker, fractions too.")] = 0.0,
    events: Annotated[
        str | None, typer.Option(help="Append every event to this file as JSON lines; - for stdout.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make all jobs of a file that are not made yet, models loaded once a worker. Prints the path of each result.

    The first Ctrl-C lets jobs at work end, the second stops them; the same command goes on.
    """
    with exit_codes(debug=debug, as_json=as_json):
        from ...configs.errors import BadInput
        from ..batch.driver import Limits
        from ..batch.ray_engine import Share
        from ..batch.resources import as_mb
        from ..batch.running import run_batch
        from ..run.commands import command
        from ..run.progress import for_terminal

        try:
            most = None if memory_limit is None else as_mb(memory_limit)
        except ValueError as error:
            raise BadInput(f"--memory-limit: {error}") from error
        stdout = sys.stdout
        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            if events == "-":
                sys.stdout = stdout
            result = run_batch(
                jobs,
                config=config,
                overrides=overrides or [],
                out=out,
                workers=workers,
                keep_going=keep_going,
                limits=Limits(attempts=attempts, seconds=time_limit, memory_mb=most),
                events=events,
                console=console,
                ray=ray,
                share=Share(cpus, gpus, most),
            )
        counts = {state: number for state, number in result.counts.items() if number}
        told = {
            "folder": str(result.folder),
            "counts": result.counts,
            "jobs": result.jobs,
            "left_out": result.left_out,
        }
        if not result.failed:
            _print(told, as_json, quiet=events == "-")
        print(f"{_counted(counts)}; more in {result.folder}", file=sys.stderr)
        if result.failed:
            if not as_json:
                _print(told, as_json, quiet=events == "-")
            again = command("batch", "retry", jobs, *(() if out == Path("runs") else ("--out", out)))
            raise PartlyFailed(
                f"{result.failed} of {len(result.jobs)} jobs failed; `{again}` queues them once more", told
            )


def _print(told: dict[str, Any], as_json: bool, *, quiet: bool) -> None:
    if quiet:
        return
    if as_json:
        print(json.dumps(told))
        return
    for job in told["jobs"]:
        if job["state"] == "done":
            print(job["result"])


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in counts.items()) or "no jobs"


@batch.command()
def status(jobs: Jobs, out: Out = Path("runs"), as_json: Json = False, debug: Debug = False) -> None:
    """Tell how the jobs stand."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..batch.asking import status as ask

        told = ask(jobs, out)
        if as_json:
            print(json.dumps(told))
            return
        for job in told["jobs"]:
            seconds = "" if job["seconds"] is None else f"{job['seconds']:.0f} s"
            about = job["result"] if job["state"] == "done" else job["error"]
            print(f"{job['state']:<10} {seconds:>8}  {job['id']}" + (f"  {about}" if about else ""))
        print(_counted({state: number for state, number in told["counts"].items() if number}))


@batch.command()
def retry(
    jobs: Jobs, ids: Ids = None, out: Out = Path("runs"), as_json: Json = False, debug: Debug = False
) -> None:
    """Queue failed, set aside and cancelled jobs once more; `slipcast batch JOBS` then makes them."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..batch.asking import retry as ask

        _tell(ask(jobs, out, ids or ()), as_json, "queued")


@batch.command()
def cancel(
    jobs: Jobs, ids: Ids = None, out: Out = Path("runs"), as_json: Json = False, debug: Debug = False
) -> None:
    """Leave out jobs that wait or run, also while a batch is at work on them."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..batch.asking import cancel as ask

        _tell(ask(jobs, out, ids or ()), as_json, "cancelled")


def _tell(ids: list[str], as_json: bool, state: str) -> None:
    print(json.dumps({state: ids}) if as_json else "\n".join(ids) if ids else f"nothing to be {state}")
