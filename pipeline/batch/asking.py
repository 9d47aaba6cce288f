"""What people ask of a batch while it runs or rests: how it stands, to try again, to leave jobs out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...configs.paths import given_folder
from ..run.manifest import MANIFEST
from .ledger import Ledger, ledger_folder, open_ledger
from .rows import Row


def status(jobs: Path, out: Path) -> dict[str, Any]:
    """{"folder", "counts": {state: number}, "jobs": [...], "models": how often each process loaded each}.

    Raises:
        BadInput: there is no such batch.
    """
    out = given_folder(out, "--out")
    with open_ledger(ledger_folder(jobs, out)) as ledger:
        return {
            "folder": str(ledger.folder),
            "counts": ledger.counts(),
            "jobs": [told(row, ledger.about("remote") or out) for row in ledger.rows()],
            "models": ledger.loads(),
        }


def told(row: Row, out: Path | str) -> dict[str, Any]:
    """A job as JSON tells it; the result's path, or address, leads to the file."""
    chosen = ("id", "prompt", "seed", "state", "attempts", "error", "seconds", "peak_mb", "folder")
    values = asdict(row)
    result = row.result
    if result is not None:
        result = str(out / result) if isinstance(out, Path) else f"{out}/{Path(result).as_posix()}"
    return {name: values[name] for name in chosen} | {"result": result}


def runs_of(jobs: Path, out: Path) -> tuple[Path, list[Path]]:
    """(folder of a batch, folders of the runs of its jobs that have begun, in the order of the jobs).

    Raises:
        BadInput: no such batch, or none of its runs is here.
    """
    with open_ledger(ledger_folder(jobs, out)) as ledger:
        named = [out / row.folder for row in ledger.all_rows() if row.folder and row.listed]
        found = [run for run in dict.fromkeys(named) if (run / MANIFEST).is_file()]
        if not found:
            raise BadInput(f"no job of {jobs} has begun yet, so there is nothing to show")
        return ledger.folder, found


def retry(jobs: Path, out: Path, ids: Sequence[str] = ()) -> list[str]:
    """Queue failed, set aside and cancelled jobs once more, or those with these ids; the ids of all that now wait.

    Raises:
        BadInput: no such batch or id.
    """
    return _ask(jobs, out, ids, ("failed", "set aside", "cancelled"), "queued")


def cancel(jobs: Path, out: Path, ids: Sequence[str] = ()) -> list[str]:
    """Leave out jobs that wait or run, all or those with these ids; a driver that is at it stops them.

    Raises:
        BadInput: no such batch or id.
    """
    return _ask(jobs, out, ids, ("queued", "running"), "cancelled")


def _ask(jobs: Path, out: Path, ids: Sequence[str], states: Sequence[str], then: str) -> list[str]:
    with open_ledger(ledger_folder(jobs, given_folder(out, "--out"))) as ledger:
        rows = ledger.rows()
        for name in ids:
            if name not in {row.id for row in rows}:
                raise unknown_name("job", name, [row.id for row in rows][:20])
        chosen = [row for row in rows if row.state in states and (not ids or row.id in ids)]
        if ids and len(chosen) < len(set(ids)):
            other = next(row for row in rows if row.id in ids and row not in chosen)
            raise BadInput(f"the job {other.id} is {other.state}, and not {' or '.join(states)}")
        for row in chosen:
            _change(ledger, row, states, then)
        return [row.id for row in chosen]


def _change(ledger: Ledger, row: Row, states: Sequence[str], then: str) -> None:
    family = [row, *(child for child in ledger.children(row.key) if child.state in states)]
    if then == "queued":
        ledger.again(member.key for member in family)
    else:
        for member in family:
            ledger.set_state(member.key, then)
