"""What is asked of a ledger: jobs and how they stand, the next one to run, attempts, loaded models."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .rows import STATES, Row, Worker

_COLUMNS = ", ".join(Row.__dataclass_fields__)


class LedgerReading:
    """The questions of a ``Ledger``."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder, self._db = folder, connection

    def rows(self, *, states: Sequence[str] = STATES) -> list[Row]:
        """Jobs of the file in its order, without children."""
        marks = ", ".join("?" * len(states))
        return self._rows(
            f"WHERE listed = 1 AND state IN ({marks}) AND parent IS NULL ORDER BY place", *states
        )

    def children(self, parent: str) -> list[Row]:
        """The children of a job."""
        return self._rows("WHERE parent = ? ORDER BY seed", parent)

    def all_rows(self) -> list[Row]:
        """Every job that was ever added, children and those that the file no longer holds too."""
        return self._rows("ORDER BY place")

    def row(self, key: str) -> Row | None:
        """One job, by its key."""
        return next(iter(self._rows("WHERE key = ?", key)), None)

    def counts(self) -> dict[str, int]:
        """{state: how many jobs of the file}, children left out."""
        found = self._db.execute(
            "SELECT state, count(*) FROM jobs WHERE listed = 1 AND parent IS NULL GROUP BY state"
        )
        return dict.fromkeys(STATES, 0) | dict(found.fetchall())

    def running(self) -> list[tuple[Row, Worker]]:
        """The jobs that are marked as running, and who ran them last."""
        found = []
        for row in self._rows("WHERE state = 'running' AND folder IS NOT NULL"):
            worker = self._db.execute(
                "SELECT host, pid, born FROM attempts WHERE key = ? ORDER BY number DESC LIMIT 1", (row.key,)
            ).fetchone()
            if worker is not None:
                found.append((row, Worker(*worker)))
        return found

    def due(
        self, now: float, *, models: str | None = None, low_memory: bool = False, leg: int | None = None
    ) -> Row | None:
        """The first job to run now.

        Args:
            models: of those that use what a worker has loaded.
            leg: of those that are as far as this; None for any.
        """
        given = [(name, value) for name, value in (("models", models), ("leg", leg)) if value is not None]
        fits = " ".join(f"AND {name} = ?" for name, _ in given)
        return next(
            iter(
                self._rows(
                    f"WHERE listed = 1 AND state = 'queued' AND folder IS NOT NULL {fits} AND not_before <= ? "
                    "AND low_memory = ? ORDER BY place LIMIT 1",
                    *(value for _, value in given),
                    now,
                    low_memory,
                )
            ),
            None,
        )

    def due_count(self, now: float, leg: int, most: int) -> int:
        """How many jobs of a leg may run now, counted up to ``most``."""
        return self._db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE listed = 1 AND state = 'queued' AND folder IS NOT NULL "
            "AND low_memory = 0 AND not_before <= ? AND leg = ? LIMIT ?)",
            (now, leg, most),
        ).fetchone()[0]

    def next_time(self) -> float | None:
        """When the first of the waiting jobs may run; None if none waits."""
        return self._db.execute(
            "SELECT min(not_before) FROM jobs WHERE listed = 1 AND state = 'queued' AND folder IS NOT NULL"
        ).fetchone()[0]

    def peak_mb(self) -> float | None:
        """The most memory that a worker ever needed for a job of this ledger."""
        return self._db.execute("SELECT max(peak_mb) FROM jobs WHERE state = 'done'").fetchone()[0]

    def attempts(self, key: str) -> list[dict[str, Any]]:
        """Every attempt at a job, the first one first, with the stages that ran in it."""
        found = self._table("SELECT * FROM attempts WHERE key = ? ORDER BY number", key)
        for attempt in found:
            attempt["stages"] = self._table(
                "SELECT stage, started, seconds, outcome FROM stages WHERE key = ? AND attempt = ? ORDER BY started",
                key,
                attempt["number"],
            )
        return found

    def usual_seconds(self, models: str, last: int = 5) -> dict[str, float]:
        """{stage: median of the last times that it was made} by jobs of the same models."""
        found = self._db.execute(
            "SELECT stages.stage, stages.seconds FROM stages JOIN jobs ON jobs.key = stages.key "
            "WHERE stages.outcome = 'made' AND jobs.models = ? ORDER BY stages.started DESC LIMIT 200",
            (models,),
        )
        times: dict[str, list[float]] = {}
        for stage, seconds in found:
            if len(times.setdefault(stage, [])) < last:
                times[stage].append(seconds)
        return {stage: median(of) for stage, of in times.items()}

    def loads(self) -> list[dict[str, Any]]:
        """{"host", "pid", "born", "model", "times"}: how often each process loaded each model."""
        return self._table(
            "SELECT host, pid, born, model, count(*) AS times FROM loads GROUP BY host, pid, born, model"
        )

    def changes(self) -> int:
        """A number that is another one after somebody else changed the ledger."""
        return self._db.execute("PRAGMA data_version").fetchone()[0]

    def about(self, name: str) -> str | None:
        """A note on the batch as a whole."""
        found = self._db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return None if found is None else found[0]

    def _rows(self, where: str, *values: Any) -> list[Row]:
        return [Row(*found) for found in self._db.execute(f"SELECT {_COLUMNS} FROM jobs {where}", values)]

    def _table(self, query: str, *values: Any) -> list[dict[str, Any]]:
        found = self._db.execute(query, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, line, strict=True)) for line in found]
