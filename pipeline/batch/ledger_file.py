"""The file of a ledger: its tables, its version, and what is wrong with it in a sentence."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ...configs.atomic import explain_os_errors
from ...configs.errors import BadInput, SlipcastError, in_one_line

VERSION = 2
_APPLICATION = 0x736C6970  # "slip": what SQLite calls an application id
_SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE jobs (
    key TEXT PRIMARY KEY, id TEXT, parent TEXT, place INTEGER, prompt TEXT, seed INTEGER, until TEXT,
    models TEXT, folder TEXT, state TEXT DEFAULT 'queued', attempts INTEGER DEFAULT 0, not_before REAL DEFAULT 0,
    low_memory INTEGER DEFAULT 0, listed INTEGER DEFAULT 1, result TEXT, error TEXT, seconds REAL, peak_mb REAL,
    score REAL, changed REAL, leg INTEGER DEFAULT 0
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
_UPDATES = {1: "ALTER TABLE jobs ADD COLUMN leg INTEGER DEFAULT 0"}
"""{version: what makes its tables those of the next one}."""


@contextlib.contextmanager
def open_file(folder: Path, *, make: bool) -> Iterator[sqlite3.Connection]:
    """The tables of the ledger in a folder.

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
            yield connection
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
    elif version < VERSION:
        connection.execute("BEGIN IMMEDIATE")
        for before in range(connection.execute("PRAGMA user_version").fetchone()[0], VERSION):
            connection.execute(_UPDATES[before])
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
