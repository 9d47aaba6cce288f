"""``slipcast studio``: the pages in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import exit_codes
from .options import Debug


def studio(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of this machine alone; 0 takes a free one.")
    ] = 7860,
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    open_it: Annotated[
        bool, typer.Option("--open/--no-open", help="Show the first page in the browser.")
    ] = True,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes at work; one a GPU, or one for every two cores, if left out.",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Make assets in the browser, on this machine alone: candidates to pick from, the object in 3D, all downloads.

    Prints the address. What is queued outlives it: the same command goes on.
    """
    with exit_codes(debug=debug):
        from ..studio.serving import serve

        serve(runs, port, workers=workers, open_browser=open_it)
