"""``slipcast report``: the page of a run, or of a folder of runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .console import exit_codes
from .options import Debug, Json


def report(
    runs: Annotated[
        Path, typer.Argument(metavar="RUN|FOLDER", help="A run, or a folder of runs.", show_default=False)
    ] = Path("runs"),
    open_it: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write report.html of a run, or index.html of a folder of runs (runs if left out). Prints the path of the page."""
    with exit_codes(debug=debug, as_json=as_json):
        from ...configs.atomic import explain_os_errors
        from ...configs.paths import given_path
        from ..report.writing import write_index, write_report
        from ..run.manifest import MANIFEST, find_run

        runs = given_path(runs, "RUN|FOLDER")
        with explain_os_errors(runs, "writing the report"):
            is_folder = runs.is_dir() and not (runs / MANIFEST).exists() and any(runs.glob(f"*/{MANIFEST}"))
            page = write_index(runs, _say) if is_folder else write_report(find_run(runs))
        print(json.dumps({"page": str(page)}) if as_json else page)
        if open_it and typer.launch(page.resolve().as_uri()) != 0:
            _say("no browser could be started; open the page by hand")


def _say(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr)
