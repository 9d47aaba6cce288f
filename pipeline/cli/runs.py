"""``slipcast runs``: what lies in a folder of runs, how two differ, and which to remove."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import exit_codes
from .options import Debug, Json, option


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds the runs.")] = Path("runs"),
    diff: Annotated[
        tuple[Path, Path] | None, option("How two runs differ: settings, figures, pictures.", metavar="A B")
    ] = None,
    page: Annotated[
        Path | None, option("With --diff: a page to write, pictures side by side.", metavar="FILE.html")
    ] = None,
    state: Annotated[str | None, option("Only those that are finished, unfinished or failed.")] = None,
    older: Annotated[
        str | None, option("Only those unchanged for longer than, such as, 12h, 7d or 2w.")
    ] = None,
    larger: Annotated[str | None, option("Only those larger than, such as, 500M or 2G.")] = None,
    prune: Annotated[
        bool, option("Remove the runs that are listed; files that slipcast did not make stay.", "--prune")
    ] = False,
    yes: Annotated[bool, option("Do not ask before removing.", "--yes")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List, compare and remove runs. The oldest are listed first."""
    with exit_codes(debug=debug, as_json=as_json):
        from ...configs.errors import BadInput
        from ...configs.paths import given_path
        from ..batch.listing import difference, list_runs

        if diff is not None:
            told = difference(*(given_path(path, "--diff") for path in diff))
            if page is not None:
                _write_page(given_path(page, "--page"), told)
            print(json.dumps(told) if as_json else _as_text(told))
            return
        if page is not None:
            raise BadInput("--page shows two runs side by side; say which with --diff A B")
        wanted = _wanted(state, older, larger)
        found = list_runs(given_path(folder, "FOLDER"), wanted)
        if prune:
            if (state, older, larger) == (None, None, None):
                raise BadInput(
                    "--prune would remove every run; say which with --state, --older or --larger "
                    "(--larger 0M for all)"
                )
            _prune(found, yes=yes, as_json=as_json)
            return
        if as_json:
            print(json.dumps({"runs": [run.told() for run in found]}))
            return
        for run in found:
            print(_line(run.told()))


def _write_page(path: Path, told: dict[str, Any]) -> None:
    """BadInput for a file that is there and is no such page."""
    from ...configs.atomic import explain_os_errors, write_text
    from ...configs.errors import BadInput
    from ..report.compare_page import COMPARES, compare_page

    with explain_os_errors(path, "writing the page", then=""):
        if path.is_dir() or (path.is_file() and COMPARES not in path.read_text("utf-8", "replace")):
            raise BadInput(f"--page={path} is there already and no page of this kind; give another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, compare_page(told))
    print(f"page: {path}", file=sys.stderr)


def _wanted(state: str | None, older: str | None, larger: str | None) -> Any:
    from ...configs.errors import BadInput
    from ...configs.names import unknown_name
    from ..batch.listing import STATES, Wanted, as_seconds
    from ..batch.resources import as_mb

    if state is not None and state not in STATES:
        raise unknown_name("state", state, STATES)
    try:
        return Wanted(
            state,
            None if older is None else as_seconds(older),
            None if larger is None else as_mb(larger) * 2**20,
        )
    except ValueError as error:
        raise BadInput(f"{'--older' if 'age' in str(error) else '--larger'}: {error}") from error


def _prune(found: list[Any], *, yes: bool, as_json: bool) -> None:
    from ..batch.pruning import prune

    for run in found:
        print(_line(run.told()), file=sys.stderr)
    size = sum(run.size for run in found)
    question = f"Remove these {len(found)} runs ({size / 2**20:.1f} MB)?"
    if found and not yes and not typer.confirm(question, err=True):
        raise typer.Exit(0)
    pruned = prune([run.path for run in found])
    told = [
        {"path": str(one.path), "freed": one.freed, "kept": list(map(str, one.kept)), "left_alone": one.why}
        for one in pruned
    ]
    for one in pruned:
        if one.why:
            print(f"left alone: {one.path}: {one.why}", file=sys.stderr)
        elif one.kept:
            print(f"kept in {one.path}: {', '.join(path.name for path in one.kept[:5])}", file=sys.stderr)
    if as_json:
        print(json.dumps({"removed": told}))
    else:
        gone = sum(one.why is None for one in pruned)
        print(f"{gone} removed, {sum(one.freed for one in pruned) / 2**20:.1f} MB freed")


def _line(told: dict[str, Any]) -> str:
    stages = "".join(_MARKS.get(status, "?") for status in told["stages"].values())
    age, size = _age(told["age_s"]), f"{told['size'] / 2**20:.1f} MB"
    return f"{told['path']}  {told['state']:<10} {stages:<8} {age:>5} {size:>10}  {told['thumbnail'] or '-'}"


_MARKS = {"finished": "#", "running": ">", "outdated": "o", "interrupted": "|", "failed": "x"}


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def _as_text(told: dict[str, Any]) -> str:
    lines = [f"a  {told['runs'][0]}", f"b  {told['runs'][1]}"]
    for what in ("settings", "figures", "pictures"):
        lines += ["", f"{what}{'' if told[what] else ': no difference'}"]
        lines += [f"  {name}: {a} | {b}" for name, (a, b) in told[what].items()]
    return "\n".join(lines)
