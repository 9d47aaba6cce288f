"""``slipcast batch status|retry|cancel|report``: what became of a batch, and what is to become of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .batch import batch  # whose command run comes first
from .batch_options import Ids, Jobs, Local, Out, counted, folder_here
from .console import exit_codes
from .options import Debug, Json


@batch.command()
def status(
    jobs: Jobs,
    out: Out = "runs",
    local: Local = Path("runs"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell how the jobs stand."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..batch.asking import status as ask

        told = ask(jobs, folder_here(out, local))
        if as_json:
            print(json.dumps(told))
            return
        for job in told["jobs"]:
            seconds = "" if job["seconds"] is None else f"{job['seconds']:.0f} s"
            about = job["result"] if job["state"] == "done" else job["error"]
            print(f"{job['state']:<10} {seconds:>8}  {job['id']}" + (f"  {about}" if about else ""))
        print(counted({state: number for state, number in told["counts"].items() if number}))


@batch.command()
def retry(
    jobs: Jobs,
    ids: Ids = None,
    out: Out = "runs",
    local: Local = Path("runs"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Queue failed, set aside and cancelled jobs once more; `slipcast batch JOBS` then makes them."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..batch.asking import retry as ask

        _tell(ask(jobs, folder_here(out, local), ids or ()), as_json, "queued")


@batch.command()
def cancel(
    jobs: Jobs,
    ids: Ids = None,
    out: Out = "runs",
    local: Local = Path("runs"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Leave out jobs that wait or run, also while a batch is at work on them."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..batch.asking import cancel as ask

        _tell(ask(jobs, folder_here(out, local), ids or ()), as_json, "cancelled")


def _tell(ids: list[str], as_json: bool, state: str) -> None:
    print(json.dumps({state: ids}) if as_json else "\n".join(ids) if ids else f"nothing to be {state}")


@batch.command()
def report(
    jobs: Jobs,
    out: Out = "runs",
    local: Local = Path("runs"),
    open_it: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write index.html of the runs of a batch, beside its ledger. Prints the path of the page."""
    with exit_codes(debug=debug, as_json=as_json):
        from ...configs.atomic import explain_os_errors
        from ..batch.asking import runs_of
        from ..report.writing import write_index
        from ..run.progress import for_terminal

        folder, runs = runs_of(jobs, folder_here(out, local))
        with explain_os_errors(folder, "writing the report"), for_terminal() as console:
            page = write_index(folder, console.notice, runs=runs, advance=console.task("reports", len(runs)))
        print(json.dumps({"page": str(page)}) if as_json else page)
        if open_it and typer.launch(page.resolve().as_uri()) != 0:
            print("note: no browser could be started; open the page by hand", file=sys.stderr)
