"""What people ask of a batch while it runs or rests: how it stands, to try again, to leave jobs out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...configs.paths import given_folder
from .ledger import Ledger, Row, ledger_folder, open_ledger


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
            "jobs": [told(row, out) for row in ledger.rows()],
            "models": ledger.loads(),
        }


def told(row: Row, out: Path) -> dict[str, Any]:
    """A job as JSON tells it; the result's path leads to the file."""
    chosen = ("id", "prompt", "seed", "state", "attempts", "error", "seconds", "peak_mb")
    values = asdict(row)
    result = None if row.result is None else str(out / row.result)
    return {name: values[name] for name in chosen} | {"result": result}


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
