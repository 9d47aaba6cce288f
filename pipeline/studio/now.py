"""What workers are at just now, ``now.json`` beside the ledger: written by the worker's process, read by the pages.

It is no record: what is finished is in the ledger and in the runs, and a file that is missing or old says nothing.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ...configs.atomic import read_json_object, write_json
from ...configs.errors import BadInput

NOW = "now.json"
_ENDS = ("done", "failed", "cancelled", "passed on")


class Now:
    """Is told of every event of the driver, as ``batch.telling`` is.

    Args:
        folder: the ledger's.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NOW
        self._jobs: dict[str, dict[str, Any]] = {}
        self._write()

    def __call__(self, kind: str, job: str | None, **values: Any) -> None:
        """Note an event."""
        if job is None:
            return
        if kind in _ENDS:
            self._jobs.pop(job, None)
        elif kind == "started":
            self._jobs[job] = {
                "stage": None,
                "what": "getting ready",
                "done": 0,
                "total": 0,
                "since": time.time(),
            }
        elif kind == "stage" and values["outcome"] == "running":
            self._jobs[job] = {
                "stage": values["stage"],
                "what": "",
                "done": 0,
                "total": 0,
                "since": time.time(),
            }
        elif kind == "step":
            self._step(job, values)
        else:
            return
        self._write()

    def _step(self, job: str, values: dict[str, Any]) -> None:
        before = self._jobs.get(job, {})
        told = {name: values[name] for name in ("stage", "what", "done", "total")}
        if (before.get("stage"), before.get("what")) != (told["stage"], told["what"]):
            # The first second of it is over already; its steps tell since when from here on.
            before = {"since": time.time(), "first": told["done"]}
        more = {"since": before["since"], "first": before.get("first", 0), "at": time.time()}
        self._jobs[job] = told | more

    def _write(self) -> None:
        write_json(self._path, {"at": time.time(), "jobs": self._jobs})


def read_now(folder: Path) -> dict[str, dict[str, Any]]:
    """{a job's id: {"stage", "what", "done", "total", "since", "left_s"}} of what is at work, as far as it is known."""
    try:
        jobs = read_json_object(folder / NOW, "what is at work")["jobs"]
        return {name: told | {"left_s": left_s(told)} for name, told in jobs.items()}
    except (BadInput, KeyError, AttributeError, TypeError):
        return {}


def left_s(told: dict[str, Any]) -> float | None:
    """Seconds until the task at work is done, at the pace since it was first heard of; None where there is no pace."""
    moved = told["done"] - told.get("first", 0)
    if not moved or told["total"] <= told["done"]:
        return None
    return max(0.0, (told["at"] - told["since"]) / moved * (told["total"] - told["done"]))
