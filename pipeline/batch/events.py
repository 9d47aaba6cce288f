"""Events of a batch as JSON lines, and as what a person reads on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ...configs.atomic import explain_os_errors
from ..run.progress import Reporter


@contextlib.contextmanager
def event_lines(where: str | None) -> Iterator[Callable[..., None]]:
    """A function that writes each event as a JSON line: to the end of a file, to stdout for ``-``, nowhere for None.

    Every line has "time" (seconds since 1970), "event" and "job" (an id, or null).

    Raises:
        SlipcastError: the file cannot be written.
    """
    if where is None:
        yield lambda kind, job, **values: None
        return
    path = Path("stdout" if where == "-" else where)
    with contextlib.ExitStack() as stack:
        stream: IO[str] = sys.stdout
        if where != "-":
            with explain_os_errors(path, "opening the file of events"):
                stream = stack.enter_context(open(path, "a", encoding="utf-8"))

        def write(kind: str, job: str | None, **values: Any) -> None:
            line = {"time": round(time.time(), 3), "event": kind, "job": job, **values}
            with explain_os_errors(path, "writing an event"):
                stream.write(json.dumps(line) + "\n")
                stream.flush()

        yield write


class Spoken:
    """Tells a person of a batch: a bar or lines of jobs that are over, and what went wrong."""

    def __init__(self, console: Reporter, jobs: int, over: int) -> None:
        self._console = console
        console.stage_started("batch")
        self._advance = console.task("jobs", jobs)
        if over:
            self._advance(over)

    def __call__(self, kind: str, job: str | None, **values: Any) -> None:
        if kind == "done":
            self._console.stage_ended(f"{job}", f"{values['seconds']:.1f} s")
        elif kind == "failed" and values["outcome"] != "interrupted":
            self._console.notice(f"{job}: {values['error']} ({values['state']})")
        elif kind == "notice" and job is None:
            self._console.notice(values["text"])
        elif kind == "over":
            self._advance(values["jobs"])
