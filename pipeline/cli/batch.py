"""``slipcast batch JOBS``: many prompts."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .batch_options import Jobs, Local, Out, batch, counted, folder_here, options_of
from .console import PartlyFailed, exit_codes
from .options import Debug, Json, Overrides


@batch.command()
def run(
    jobs: Jobs,
    overrides: Overrides = None,
    config: Annotated[str, typer.Option(help="Preset or YAML file of the jobs that name none.")] = "starter",
    out: Out = "runs",
    local: Local = Path("runs"),
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
    needs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE:cpus=N,gpus=N,memory=SIZE",
            help="With --ray: what this stage and those after it need, in workers of their own; once a stage.",
            show_default=False,
        ),
    ] = None,
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
        from ..batch.remote import is_address
        from ..batch.resources import as_mb
        from ..batch.running import run_batch
        from ..batch.shares import Share
        from ..batch.verdicts import Limits
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
                out=folder_here(out, local),
                remote=out if is_address(out) else None,
                workers=workers,
                keep_going=keep_going,
                limits=Limits(attempts=attempts, seconds=time_limit, memory_mb=most),
                events=events,
                console=console,
                ray=ray,
                share=Share(cpus, gpus, most),
                needs=needs or (),
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
        print(f"{counted(counts)}; more in {result.folder}", file=sys.stderr)
        if result.failed:
            if not as_json:
                _print(told, as_json, quiet=events == "-")
            again = command("batch", "retry", jobs, *options_of(out, local))
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
