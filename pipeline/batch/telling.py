"""Who is told of a batch: the file of events, the person at the terminal, and the program that has started it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..run.progress import Reporter
from .asking import told
from .entering import OVER
from .events import Spoken
from .jobs import Job
from .ledger import Ledger

OnEvent = Callable[[str, str | None, dict[str, Any]], None]
"""(kind, a job's id or None, values)"""
OnOver = Callable[[dict[str, Any]], None]
"""A job that is over, as ``asking.told`` tells it."""

_ENDS = ("done", "failed", "parent", "cancelled")
"""Events after which a job may be over."""


class Telling:
    """Passes every event on; jobs that were over before are told first.

    Args:
        results: folder or address of the runs.
        write: writes an event down (``events.event_lines``).
    """

    def __init__(
        self,
        ledger: Ledger,
        jobs: Sequence[Job],
        results: Path | str,
        *,
        write: Callable[..., None],
        console: Reporter,
        on_event: OnEvent | None = None,
        on_over: OnOver | None = None,
    ) -> None:
        self._ledger, self._keys, self._results = ledger, {job.id: job.key for job in jobs}, results
        self._write, self._on_event, self._on_over = write, on_event, on_over
        self._over = self._count()
        self._spoken = Spoken(console, len(jobs), self._over)
        if on_over is not None:
            for row in ledger.rows(states=OVER):
                on_over(told(row, results))

    def __call__(self, kind: str, job: str | None, **values: Any) -> None:
        """Tell of an event."""
        self._write(kind, job, **values)
        self._spoken(kind, job, **values)
        if self._on_event is not None:
            self._on_event(kind, job, values)
        if kind in _ENDS:
            self._tell_over(job)

    def _tell_over(self, job: str | None) -> None:
        row = (
            self._ledger.row(self._keys[job]) if job in self._keys else None
        )  # a candidate is no job of its own
        if self._on_over is not None and row is not None and row.state in OVER:
            self._on_over(told(row, self._results))
        now = self._count()
        if now > self._over:
            self._spoken("over", None, jobs=now - self._over)
            self._over = now

    def _count(self) -> int:
        counts = self._ledger.counts()
        return sum(counts[state] for state in OVER)
