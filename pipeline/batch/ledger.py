"""The ledger of a batch: what became of each job, in SQLite, whatever engine works on it.

    <out>/<name of the job file>.batch/ledger.sqlite

A job is known by its key; adding it again changes nothing. States: queued, running, done, failed (its input cannot be
used), set aside (it failed as often as it may), cancelled. A job with children is never run itself: it is done when all
of them are. One driver at a time writes (``driving``); others read, and may cancel or queue again (``batch.asking``).
Every change is one transaction: a killed driver leaves a ledger that the next one reads.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...configs.errors import SlipcastError
from ..run.lock import FolderLock
from .ledger_file import open_file
from .ledger_reading import LedgerReading
from .rows import Worker


def ledger_folder(jobs: Path, out: Path) -> Path:
    """Where the ledger of a job file lies, beside the runs that it tells of."""
    return out / f"{jobs.absolute().name}.batch"


class Ledger(LedgerReading):
    """An open ledger. Made by ``open_ledger``."""

    def note(self, name: str, value: str) -> None:
        """Keep a note on the batch as a whole."""
        self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))

    def add(self, jobs: Iterable[dict[str, Any]]) -> None:
        """Add jobs, by key, with what of {id, parent, place, prompt, seed, until, models, folder} is known.

        One that is there keeps its state; a cancelled one that a file had left out is queued again.
        """
        with self._transaction():
            self._db.executemany(
                "INSERT INTO jobs (key, id, parent, place, prompt, seed, until, models, folder, changed) VALUES "
                "(:key, :id, :parent, :place, :prompt, :seed, :until, :models, :folder, :changed) "
                "ON CONFLICT (key) DO UPDATE SET id = excluded.id, place = excluded.place, "
                "state = CASE WHEN listed THEN state WHEN state = 'cancelled' THEN 'queued' ELSE state END, "
                "listed = 1",
                ({"changed": time.time()} | job for job in jobs),
            )

    def leave_out(self, keys: set[str]) -> int:
        """Take jobs out of the batch that its file no longer holds; how many there were. What they made stays."""
        with self._transaction():
            there = self._db.execute("SELECT key FROM jobs WHERE listed = 1 AND parent IS NULL").fetchall()
            gone = [(key,) for (key,) in there if key not in keys]
            for column in ("key", "parent"):
                self._db.executemany(
                    "UPDATE jobs SET listed = 0, state = CASE WHEN state IN ('queued', 'running') THEN 'cancelled' "
                    f"ELSE state END WHERE {column} = ?",
                    gone,
                )
        return len(gone)

    def again(self, keys: Iterable[str]) -> None:
        """Queue jobs once more, with all their attempts before them."""
        with self._transaction():
            self._db.executemany(
                "UPDATE jobs SET state = 'queued', attempts = 0, not_before = 0, low_memory = 0, error = NULL, "
                "leg = 0, changed = ? WHERE key = ?",
                [(time.time(), key) for key in keys],
            )

    def from_the_first_leg(self) -> None:
        """Waiting jobs begin with their first leg: they may be divided otherwise now, and what is made is kept."""
        self._db.execute("UPDATE jobs SET leg = 0 WHERE state = 'queued' AND leg > 0")

    def start(self, key: str, worker: Worker) -> int:
        """A worker begins with a job; the number of the attempt."""
        now = time.time()
        with self._transaction():
            (number,) = self._db.execute(
                "SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE key = ?", (key,)
            ).fetchone()
            self._db.execute(
                "INSERT INTO attempts (key, number, host, pid, born, started) VALUES (?, ?, ?, ?, ?, ?)",
                (key, number, worker.host, worker.pid, worker.born, now),
            )
            self._change(key, "running", now)
        return number

    def stage(self, key: str, attempt: int, stage: str, *, seconds: float | None, outcome: str) -> None:
        """A stage began (``seconds`` None) or ended."""
        now = time.time()
        self._db.execute(
            "INSERT INTO stages VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET seconds = excluded.seconds, "
            "outcome = excluded.outcome",
            (key, attempt, stage, now - (seconds or 0.0), seconds, outcome),
        )

    def loaded(self, worker: Worker, models: Iterable[str]) -> None:
        """A worker loaded models."""
        self._db.executemany(
            "INSERT INTO loads VALUES (?, ?, ?, ?, ?)",
            [(worker.host, worker.pid, worker.born, model, time.time()) for model in models],
        )

    def end(
        self,
        key: str,
        state: str,
        *,
        outcome: str,
        error: str | None = None,
        counts: bool = False,
        not_before: float = 0.0,
        low_memory: bool = False,
        **entries: Any,
    ) -> None:
        """An attempt is over.

        Args:
            state: what the job is now; queued if it is to be tried again, not before that time.
            outcome: of the attempt: done, passed on (its leg is), failed, out of memory, died, took too long,
                interrupted, cancelled.
            counts: whether the attempt counts as one of those that a job has.
            entries: result, seconds, peak_mb, score, leg of the job.
        """
        now = time.time()
        with self._transaction():
            self._db.execute(
                "UPDATE attempts SET ended = ?, outcome = ?, error = ?, peak_mb = ? "
                "WHERE key = ? AND number = (SELECT max(number) FROM attempts WHERE key = ?)",
                (now, outcome, error, entries.get("peak_mb"), key, key),
            )
            self._change(
                key,
                state,
                now,
                error=error,
                not_before=not_before,
                low_memory=low_memory,
                **entries,
            )
            if counts:
                self._db.execute("UPDATE jobs SET attempts = attempts + 1 WHERE key = ?", (key,))

    def set_state(self, key: str, state: str, **entries: Any) -> None:
        """A job's state changes without an attempt: a parent is done, somebody cancels."""
        with self._transaction():
            self._change(key, state, time.time(), **entries)

    def _change(self, key: str, state: str, now: float, **entries: Any) -> None:
        names = "".join(f", {name} = ?" for name in entries)
        self._db.execute(
            f"UPDATE jobs SET state = ?, changed = ?{names} WHERE key = ?",
            (state, now, *entries.values(), key),
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # on a full disk SQLite has rolled back by itself
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextlib.contextmanager
    def driving(self) -> Iterator[None]:
        """Be the one driver of this batch.

        Raises:
            SlipcastError: another process is, and lives.
        """
        lock = FolderLock(self.folder)
        try:
            lock.acquire()
        except SlipcastError as error:
            holder = str(error).partition("(process ")[2].partition(")")[0] or "unknown"
            raise SlipcastError(
                f"this batch is being worked on already, by process {holder}; wait for it or stop it "
                f"(its state is in {self.folder})"
            ) from error
        try:
            yield
        finally:
            lock.release()


@contextlib.contextmanager
def open_ledger(folder: Path, *, make: bool = False) -> Iterator[Ledger]:
    """The ledger in a folder.

    Args:
        make: make one where there is none.
    Raises:
        BadInput: there is none, or it is no ledger, or that of a newer version.
        SlipcastError: it cannot be read or written.
    """
    with open_file(folder, make=make) as connection:
        yield Ledger(folder, connection)
