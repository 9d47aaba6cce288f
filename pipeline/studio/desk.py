"""What the pages do with the queue: hand jobs in, look at them, cancel, try again.

The queue is the ledger of a batch (``jobs_file``), and nothing of it lives here: two browsers, and a studio that is
started again, see the same. Each call opens the ledger for itself.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ..batch import asking
from ..batch.entering import line_of
from ..batch.jobs import Job, one_job
from ..batch.ledger import Ledger, open_ledger
from ..batch.placing import Places, plain_path
from ..batch.rows import Row
from .jobs_file import add_line, jobs_file, read_lines


class Desk:
    """The jobs of the studio in a folder of runs.

    Attributes:
        runs: the folder; ``folder`` is the ledger's in it, ``uploads`` that of pictures that were sent.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.file = jobs_file(runs)
        self.folder = self.file.parent
        self.uploads = self.folder / "uploads"
        self._adding = threading.Lock()  # of this process's threads; no other process adds

    @contextlib.contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The open ledger, for this block."""
        with open_ledger(self.folder, make=True) as ledger:
            yield ledger

    def check(self, values: Mapping[str, Any], where: str = "the form") -> Job:
        """What ``submit`` would hand in.

        Raises:
            BadInput: it cannot be used.
        """
        return one_job(values, where, self.folder)

    def submit(self, values: Mapping[str, Any], where: str = "the form") -> str:
        """Queue a job; one that is there already is not made twice, but tried again if it had failed or was cancelled.

        Args:
            values: prompt, seed, config, until, picture, overrides, as a line of a JSONL job file (docs/batch.md).
        Returns: the job's id.
        Raises:
            BadInput: it cannot be used.
            SlipcastError: it cannot be written down.
        """
        job = self.check(values, where)
        with self._adding, self.ledger() as ledger:
            there = ledger.row(job.key)
            if there is not None:
                if there.state in ("failed", "set aside", "cancelled") or self.is_lost(there):
                    ledger.again([there.key])
                return there.id
            rows = ledger.all_rows()
            taken = {row.id for row in rows}
            number, name = 1, job.id
            while job.id in taken:
                number += 1
                job = replace(job, id=f"{name}-{number}")
            add_line(self.file, {"id": job.id, **{name: one for name, one in values.items() if name != "id"}})
            self._enter(ledger, job, rows)
            return job.id

    def catch_up(self) -> None:
        """Queue what is written down and not in the ledger: of a server that was killed between the two, or of a ledger
        that was moved away. What such a job has finished is found again; a line that cannot be used is passed over.
        """
        with self._adding, self.ledger() as ledger:
            for name, values in read_lines(self.file).items():
                rows = ledger.all_rows()
                if name in {row.id for row in rows}:
                    continue
                with contextlib.suppress(BadInput):
                    job = self.check(values)
                    if ledger.row(job.key) is None:
                        self._enter(ledger, replace(job, id=name), rows)

    def _enter(self, ledger: Ledger, job: Job, rows: Sequence[Row]) -> None:
        place = max((row.place for row in rows), default=-1) + 1
        ledger.add([line_of(job, place, self._folder(job, rows))])

    def _folder(self, job: Job, rows: Sequence[Row]) -> str:
        """The name of a job's run: that of another job of the same settings, or one of its own."""
        plain = plain_path(self.runs, job.prompt, job.seed, job.picture).name
        places, lines = Places(self.runs), read_lines(self.file)
        for row in rows:
            if row.folder and row.folder.startswith(plain):
                try:
                    key = self.check(lines.get(row.id, {})).settings_key
                except BadInput:  # what it names has gone since; nobody else's settings are the same
                    key = row.key
                places.keep(self.runs / row.folder, key)
        return places.folder(job.prompt, job.seed, job.config, job.settings_key, job.picture).name

    def rows(self) -> list[Row]:
        """All jobs, the newest first."""
        with self.ledger() as ledger:
            return ledger.rows()[::-1]

    def row(self, name: str) -> Row | None:
        """The job with this id, or None."""
        with self.ledger() as ledger:
            return next((row for row in ledger.rows() if row.id == name), None)

    def entry(self, name: str) -> dict[str, Any]:
        """What was asked for, as the line of the job file says it; empty where the line is gone."""
        return read_lines(self.file).get(name, {})

    def cancel(self, name: str) -> None:
        """Leave a job out that waits or runs.

        Raises:
            BadInput: no such job, or it is over.
        """
        asking.cancel(self.file, self.runs, [name])

    def retry(self, name: str) -> None:
        """Queue a job again that failed or was cancelled, or whose result is gone.

        Raises:
            BadInput: no such job, or it waits, runs or is done.
        """
        row = self.row(name)
        if row is not None and self.is_lost(row):
            with self.ledger() as ledger:
                ledger.again([row.key])
        else:
            asking.retry(self.file, self.runs, [name])

    def is_lost(self, row: Row) -> bool:
        """Whether somebody has removed what a finished job made."""
        return row.state == "done" and row.result is not None and not (self.runs / row.result).exists()
