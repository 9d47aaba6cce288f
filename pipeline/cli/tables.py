"""``slipcast eval paper-tables``: the two papers' tables, rerun from nothing."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from .console import exit_codes
from .evaluate import evaluate, table  # whose commands come first
from .options import Debug, Json


@evaluate.command("paper-tables")
def paper_tables(
    scale: Annotated[
        str, typer.Option(help="starter: a laptop; sd15: the papers' own settings.")
    ] = "starter",
    quick: Annotated[
        bool, typer.Option("--quick", help="All of the machinery in minutes; its figures are no results.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="TABLE",
            help="table1, forgetting, rectification, comparison, classes, strength, steps, axes, toy, assets; "
            "may be repeated.",
            show_default="all",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Keeps every finished cell.")] = Path(
        "paper-tables"
    ),
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the page goes.", show_default="results.md in the folder"),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 0,1,2.", show_default="0,1,2")] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The domain's pictures, for --scale sd15.", show_default=False),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="A CLIP network at hand, for the alignment there.", show_default=False
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that compute cells side by side.",
            show_default="one for every core of a CPU",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, and compute nothing.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """The two papers' tables from nothing: trainings, pictures, distances, a page; goes on where it stopped."""
    with exit_codes(debug=debug, as_json=as_json):
        from ..run.progress import for_terminal
        from ..tables.scales import scale_named
        from ..tables.tables import paper_tables as compute
        from ..tables.tables import seeds_of

        chosen = scale_named(scale, quick=quick, seeds=seeds_of(seeds))
        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            found = compute(
                chosen,
                out,
                console,
                only=only or (),
                page=page,
                pictures=pictures,
                clip=clip,
                device=device,
                workers=workers,
                dry_run=dry_run,
                command=shlex.join(["slipcast", *sys.argv[1:]]),
            )
        print(json.dumps(found) if as_json else "\n".join(table(found)))
