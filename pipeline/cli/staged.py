"""``slipcast run``: the runs of a YAML file, sweeps among them; the file may be one of threestudio's."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import exit_codes
from .options import Debug, DryRun, Json, Overrides

if TYPE_CHECKING:
    from ..threestudio.mapping import Mapped


def run(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="YAML of prompts, settings, inputs and sweeps, or a configuration of threestudio.",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    from_stage: Annotated[
        str | None, typer.Option("--from", help="Run this stage and the later ones anew.")
    ] = None,
    until_stage: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the runs that a file describes, one after the other; docs/batch.md shows one. Prints a path a run."""
    with exit_codes(debug=debug, as_json=as_json):
        from ...configs.paths import given_folder
        from ..batch.staged import foresee, read_staged, run_staged
        from ..run.progress import for_terminal
        from ..run.stage import selected
        from ..stages.table import all_stages

        selected(all_stages(), from_stage, until_stage)
        out = given_folder(out, "--out")
        theirs, ours = _of_threestudio(file, overrides or [])
        if theirs is not None:
            print(theirs.as_text(), file=sys.stderr if as_json or not dry_run else sys.stdout)
        content = None if theirs is None else theirs.staged()
        runs = read_staged(file, overrides=ours, out=out, content=content)
        if dry_run:
            with contextlib.redirect_stdout(sys.stderr):
                plans = [
                    foresee(one, out=out, from_stage=from_stage, until_stage=until_stage) for one in runs
                ]
            if as_json:
                told = [
                    plan.as_json() | {"varied": one.varied} for one, plan in zip(runs, plans, strict=True)
                ]
                print(json.dumps({"runs": told, **_lines(theirs)}))
                return
            for one, plan in zip(runs, plans, strict=True):
                varied = " ".join(f"{name}={value}" for name, value in one.varied.items())
                print("\n".join([*([varied] if varied else []), plan.as_text(), ""]))
            return
        with contextlib.redirect_stdout(sys.stderr), for_terminal() as console:
            made = run_staged(
                file, runs, out=out, from_stage=from_stage, until_stage=until_stage, console=console
            )
        print(
            json.dumps({"runs": made, **_lines(theirs)})
            if as_json
            else "\n".join(one["result"] for one in made)
        )


def _of_threestudio(file: Path, overrides: list[str]) -> tuple[Mapped | None, list[str]]:
    """(the file read as one of threestudio's, None where it is ours; the overrides that are ours)."""
    from ...configs.paths import given_path
    from ...configs.yaml_files import read_yaml
    from ..threestudio.experiment import is_experiment, is_theirs
    from ..threestudio.reading import mapped

    content = read_yaml(given_path(file, "FILE"))
    if not is_experiment(content):
        return None, overrides
    theirs = [one for one in overrides if is_theirs(one)]
    return mapped(file, content, theirs), [one for one in overrides if one not in theirs]


def _lines(theirs: Mapped | None) -> dict[str, list[dict[str, object]]]:
    """What became of each key, for --json; nothing for a file of ours."""
    from dataclasses import asdict

    return {} if theirs is None else {"threestudio": [asdict(line) for line in theirs.lines]}
