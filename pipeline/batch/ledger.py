"""The ledger of a batch: what became of each job, in SQLite, whatever engine works on it.

    <out>/<name of the job file>.batch/ledger.sqlite

A job is known by its key; adding it again changes nothing. States: queued, running, done, failed (its input cannot be
used), set aside (it failed as often as it may), cancelled. A job with children is never run itself: it is done when all
of them are. One driver at a time writes (``driving``); others read, and may cancel or queue again (``batch.asking``).
Every change is one transaction: a killed driver leaves a ledger that the next one reads.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...configs.atomic import explain_os_errors
from ...configs.errors import BadInput, SlipcastError, in_one_line
from ..run.lock import FolderLock

STATES = ("queued", "running", "done", "failed", "set aside", "cancelled")
VERSION = 1
_APPLICATION = 0x736C6970  # "slip": what SQLite calls an application id
_SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE jobs (
    key TEXT PRIMARY KEY, id TEXT, parent TEXT, place INTEGER, prompt TEXT, seed INTEGER, until TEXT,
    models TEXT, folder TEXT, state TEXT DEFAULT 'queued', attempts INTEGER DEFAULT 0, not_before REAL DEFAULT 0,
    low_memory INTEGER DEFAULT 0, listed INTEGER DEFAULT 1, result TEXT, error TEXT, seconds REAL, peak_mb REAL,
    score REAL, changed REAL
);
CREATE INDEX jobs_in_turn ON jobs (listed, state, low_memory, place);
CREATE INDEX jobs_of_models ON jobs (listed, state, low_memory, models, place);
CREATE INDEX jobs_of ON jobs (parent);
CREATE TABLE attempts (
    key TEXT, number INTEGER, host TEXT, pid INTEGER, born REAL, started REAL, ended REAL, outcome TEXT, error TEXT,
    peak_mb REAL, PRIMARY KEY (key, number)
);
CREATE TABLE stages (
    key TEXT, attempt INTEGER, stage TEXT, started REAL, seconds REAL, outcome TEXT, PRIMARY KEY (key, attempt, stage)
);
CREATE TABLE loads (host TEXT, pid INTEGER, born REAL, model TEXT, at REAL);
"""


@dataclass(frozen=True)
class Row:
    """What the ledger knows of a job; ``attempts`` counts those that ended by a fault of the job."""

    key: str
    id: str
    parent: str | None
    place: int
    prompt: str
    seed: int
    until: str | None
    models: str
    folder: str
    state: str
    attempts: int
    not_before: float
    low_memory: bool
    listed: bool
    result: str | None
    error: str | None
    seconds: float | None
    peak_mb: float | None
    score: float | None
    changed: float | None


@dataclass(frozen=True)
class Worker:
    """A process by host, number and the time of its birth, which tells it from a later one of the same number."""

    host: str
    pid: int
    born: float


_COLUMNS = ", ".join(Row.__dataclass_fields__)


def ledger_folder(jobs: Path, out: Path) -> Path:
    """Where the ledger of a job file lies, beside the runs that it tells of."""
    return out / f"{jobs.absolute().name}.batch"


class Ledger:
    """An open ledger. Made by ``open_ledger``."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder, self._db = folder, connection

    # What is in it -------------------------------------------------------------------------------------------------

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

    def due(self, now: float, *, models: str | None = None, low_memory: bool = False) -> Row | None:
        """The first job to run now; with ``models``, the first that uses those which a worker has."""
        fits = "AND models = ?" if models is not None else ""
        return next(
            iter(
                self._rows(
                    f"WHERE listed = 1 AND state = 'queued' AND folder IS NOT NULL {fits} AND not_before <= ? "
                    "AND low_memory = ? ORDER BY place LIMIT 1",
                    *(() if models is None else (models,)),
                    now,
                    low_memory,
                )
            ),
            None,
        )

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

    # What changes it -----------------------------------------------------------------------------------------------

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
                "changed = ? WHERE key = ?",
                [(time.time(), key) for key in keys],
            )

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
            outcome: of the attempt: done, failed, out of memory, died, took too long, interrupted, cancelled.
            counts: whether the attempt counts as one of those that a job has.
            entries: result, seconds, peak_mb, score of the job.
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

    # How -----------------------------------------------------------------------------------------------------------

    def _rows(self, where: str, *values: Any) -> list[Row]:
        return [Row(*found) for found in self._db.execute(f"SELECT {_COLUMNS} FROM jobs {where}", values)]

    def _table(self, query: str, *values: Any) -> list[dict[str, Any]]:
        found = self._db.execute(query, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, line, strict=True)) for line in found]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
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
    path = folder / "ledger.sqlite"
    if not make and not path.is_file():
        raise BadInput(f"there is no batch in {folder} yet; start it, or give the --out it was started with")
    with explain_os_errors(folder, "opening the ledger"):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=30.0, isolation_level=None)) as connection:
            _prepare(connection, path)
            yield Ledger(folder, connection)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # disk full, read-only, locked for half a minute
            raise SlipcastError(
                f"the ledger {path} cannot be used ({in_one_line(error)}); "
                "put that right, then the same command goes on"
            ) from error
        raise BadInput(
            f"{path} is no ledger of a batch ({in_one_line(error)}); move it away, and what is finished is found again"
        ) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    # NORMAL is whole after a power cut, too; it may lack the last changes, which finished stages make up for.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if version > VERSION and application == _APPLICATION:
        raise BadInput(
            f"{path} was written by a newer slipcast (version {version}, this one reads {VERSION}); update slipcast"
        )
    if version == 0:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # nobody was quicker
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise BadInput(f"{path} is a database, but no ledger of a batch; move it away")
            for statement in _SCHEMA.strip().split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    elif application != _APPLICATION:
        raise BadInput(f"{path} is a database, but no ledger of a batch; move it away")
