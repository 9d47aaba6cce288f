"""The process that works off the studio's queue: ``python -m slipcast.pipeline.studio.working RUNS [WORKERS]``.

It is the driver of a batch that waits for more jobs as long as a server lives. When the server is killed it goes on
with what is queued, and ends when nothing is left; a server that is started in the meantime takes it over. When it is
killed itself, its workers end, and the server starts another one, which goes on.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...configs.errors import BadInput, SlipcastError
from ...configs.stopping import Stopped
from ..batch.draining import draining
from ..batch.driver import Driver
from ..batch.jobs import Job, one_job
from ..batch.ledger import Ledger, open_ledger
from ..batch.processes import Processes
from ..batch.running import WORK, end_orphans, plan_here
from ..batch.verdicts import Limits
from ..batch.worker import Work
from .jobs_file import jobs_file, read_lines
from .now import Now
from .processes import SERVER, WORKER, forget_self, living, note_self

_LOOK_AGAIN_S = 1.0


class QueuedJobs(Mapping[str, Job]):
    """{key in the ledger: job}, read from the job file when one is asked for."""

    def __init__(self, ledger: Ledger, file: Path) -> None:
        self._ledger, self._file = ledger, file
        self._read: dict[str, Job] = {}

    def __getitem__(self, key: str) -> Job:
        """The job; BadInput if what it names is not there any more."""
        if key not in self._read:
            row = self._ledger.row(key)
            values = {} if row is None else read_lines(self._file).get(row.id)
            if not values:
                raise BadInput("its line has gone from the studio's job file; ask for it once more")
            self._read[key] = one_job(values, "the job", self._file.parent)
        return self._read[key]

    def __iter__(self) -> Iterator[str]:
        """Keys of all jobs."""
        return (row.key for row in self._ledger.all_rows())

    def __len__(self) -> int:
        return len(self._ledger.all_rows())


def work_off(
    runs: Path, workers: int | None = None, *, work: Work = WORK, limits: Limits | None = None
) -> None:
    """Work off the queue of a folder of runs, until no server lives and nothing is left.

    Args:
        workers: processes; None for as many as fit.
        work: what a worker does with a task; something else in tests.
    Raises:
        SlipcastError: the ledger cannot be read or written.
    """
    file = jobs_file(runs)
    server, me = file.parent / SERVER, file.parent / WORKER
    with open_ledger(file.parent, make=True) as ledger, _driving(ledger, server) as mine:
        if not mine:
            return
        note_self(me)
        try:
            end_orphans(ledger)
            engine = Processes(work, plan_here(workers, ledger).environments)
            driver = Driver(
                ledger,
                engine,
                QueuedJobs(ledger, file),
                runs,
                limits=limits or Limits(),
                tell=Now(file.parent),
            )
            with draining() as drain:
                driver.run(drain, stays=lambda: living(server) is not None)
        finally:
            forget_self(me)


@contextlib.contextmanager
def _driving(ledger: Ledger, server: Path) -> Iterator[bool]:
    """Be the driver, as soon as nobody else is; False if the server went first."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(ledger.driving())
            except (
                SlipcastError
            ):  # a ``slipcast batch`` on the studio's file, or a worker that is about to end
                if living(server) is None:
                    yield False
                    return
                time.sleep(_LOOK_AGAIN_S)
                continue
            yield True
            return


def main(words: list[str]) -> None:
    """Run as a program: RUNS, and how many workers, or nothing for as many as fit."""
    with contextlib.suppress(Stopped):
        work_off(Path(words[0]), int(words[1]) if len(words) > 1 else None)


if __name__ == "__main__":
    main(sys.argv[1:])
