"""The driver of a batch: gives jobs to an engine's workers, writes down what becomes of them, and decides what is next.

done            the job is done
input           failed: another try of the same input will fail too
error, died     again, later and later, and set aside after as many attempts as it may have
memory          once more by itself: no other worker beside it, one network on the device at a time
interrupted     again, for it was no fault of the job
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...configs.stopping import check_stop
from .draining import Drain
from .engine import Engine, Event
from .entering import settle
from .jobs import Job
from .ledger import Ledger, Row, Worker
from .resources import FIRST_GUESS_MB, free_memory_mb, kernel_kills
from .work import Task, model_group

Tell = Callable[..., None]
"""(kind, job's id or None, **values): every event goes through it."""

_TICK_S = 0.25
_DRAINS = "no further jobs are begun, those at work end; stop once more to stop them too"
_LONGEST_BACKOFF_S = 300.0


@dataclass(frozen=True)
class Limits:
    """What a job may take.

    Attributes:
        attempts: after as many that failed it is set aside.
        backoff_s: wait before the second attempt, twice as long before each later one.
        seconds, memory_mb: of one attempt; None for no limit.
    """

    attempts: int = 3
    backoff_s: float = 2.0
    seconds: float | None = None
    memory_mb: float | None = None


@dataclass
class _Running:
    row: Row
    attempt: int
    worker: Worker
    kills: int | None
    began: float = field(default_factory=time.monotonic)
    peak_mb: float = 0.0


class Driver:
    """Works off what is queued in a ledger.

    Args:
        jobs: {key: job} of all that may be due.
        tell: is told of every event.
        free_mb: memory that is free now.
        kills: how many processes the system has ended for want of memory, or None.
    """

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        jobs: Mapping[str, Job],
        out: Path,
        *,
        limits: Limits,
        tell: Tell,
        free_mb: Callable[[], float] = free_memory_mb,
        kills: Callable[[], int | None] = kernel_kills,
    ) -> None:
        self._ledger, self._engine, self._jobs, self._out = ledger, engine, jobs, out
        self._limits, self._tell, self._free_mb, self._kills = limits, tell, free_mb, kills
        self._running: dict[int, _Running] = {}
        self._models: dict[int, str] = {}
        self._alone = self._cleared = self._waits_for_memory = self._drains = False
        self._changes = ledger.changes()

    def run(self, drain: Drain) -> None:
        """Until nothing is left to do, or until what is running is done after ``drain`` was asked.

        Raises:
            Stopped: this process was asked to stop at once; the workers wrote down where they were.
        """
        try:
            while True:
                check_stop()
                self._look_at_changes()
                if drain.asked is None:
                    self._fill()
                elif not self._drains:
                    self._drains = True
                    self._tell("notice", None, text=_DRAINS)
                if not self._running and (drain.asked is not None or self._ledger.next_time() is None):
                    return
                for event in self._engine.wait(_TICK_S):
                    self._take(event)
                self._watch()
        finally:
            self._engine.close(gently=True)
            for running in self._running.values():
                self._ledger.end(running.row.key, "queued", outcome="interrupted")

    # Giving --------------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        if self._alone:
            return
        now = time.time()
        alone = self._ledger.due(now, low_memory=True)
        if alone is not None:  # nothing else is begun until it has the machine to itself
            if not self._running and self._has_place_alone():
                self._alone = True
                self._give(0, alone)
            return
        for place in range(self._engine.places):
            if place in self._running or not self._engine.ready(place):
                continue
            if self._running and not self._has_memory(place):
                return
            row = self._next(place, now)
            if row is None:
                return
            self._give(place, row)

    def _has_place_alone(self) -> bool:
        """Whether a worker is ready after all others were ended, which gives their memory back."""
        if not self._cleared:
            self._engine.close()
            self._models.clear()
            self._cleared = True
        return self._engine.ready(0)

    def _next(self, place: int, now: float) -> Row | None:
        """The next job, one for the models that the worker has if there is any."""
        warm = self._models.get(place)
        row = None if warm is None else self._ledger.due(now, models=warm)
        return row or self._ledger.due(now)

    def _has_memory(self, place: int) -> bool:
        """Whether another worker fits beside those at work, main memory and not only the GPU's."""
        wanted = (self._ledger.peak_mb() or FIRST_GUESS_MB) - self._engine.memory_mb(place)
        free = self._free_mb()
        waits = wanted > free
        if waits and not self._waits_for_memory:
            self._tell(
                "notice",
                None,
                text=f"a worker waits for memory: about {wanted:.0f} MB are needed, {free:.0f} MB are free",
            )
        self._waits_for_memory = waits
        return not waits

    def _give(self, place: int, row: Row) -> None:
        job = self._jobs[row.key]
        task = Task(
            key=row.key,
            prompt=job.prompt,
            seed=job.seed,
            config=job.config,
            folder=self._out / row.folder,
            out=self._out,
            picture=job.picture,
            until=job.until,
            low_memory=row.low_memory,
        )
        kills = self._kills()
        worker = self._engine.give(place, task)
        self._models[place] = model_group(job.config)
        attempt = self._ledger.start(row.key, worker)
        self._running[place] = _Running(row, attempt, worker, kills)
        self._settle(row)
        self._tell(
            "started", row.id, attempt=attempt, host=worker.host, pid=worker.pid, folder=str(task.folder)
        )

    # Taking --------------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        running = self._running.get(event.place)
        if running is None:  # of a worker that had nothing to do, or that was ended
            if event.kind == "died":
                self._models.pop(event.place, None)
            return
        row, values = running.row, dict(event.values)
        if event.kind == "stage":
            self._ledger.stage(
                row.key,
                running.attempt,
                values["stage"],
                seconds=values["seconds"],
                outcome=values["outcome"],
            )
        elif event.kind == "loaded":
            self._ledger.loaded(running.worker, values["models"])
        elif event.kind == "done":
            self._done(event.place, values)
            return
        elif event.kind == "failed":
            self._failed(event.place, values["how"], values["error"], values.get("peak_mb"))
            return
        elif event.kind == "died":
            self._died(event.place, values["signal"], values.get("why"))
            return
        self._tell(event.kind, row.id, **values)

    def _done(self, place: int, values: dict[str, Any]) -> None:
        running = self._over(place)
        result = Path(values["result"])
        for out in (self._out, self._out.absolute()):
            if result.is_relative_to(out):  # the folder of runs may be moved as a whole
                result = result.relative_to(out)
        entries: dict[str, Any] = {name: values.get(name) for name in ("seconds", "peak_mb", "score")}
        entries |= {"result": str(result)}
        self._ledger.end(running.row.key, "done", outcome="done", **entries)
        self._tell("done", running.row.id, **values)
        self._settle(running.row)

    def _died(self, place: int, number: int | None, why: str | None) -> None:
        running = self._running[place]
        self._models.pop(place, None)
        kills = self._kills()
        # Linux counts what it ends for want of memory; elsewhere SIGKILL has hardly another cause.
        starved = number == 9 and (kills is None or kills != running.kills)
        reason = f"its worker {running.worker.pid} died" + ("" if number is None else f" of signal {number}")
        reason += f" ({why})" if why else ""
        self._failed(place, "memory" if starved else "died", reason, None)

    def _failed(self, place: int, how: str, error: str, peak_mb: float | None) -> None:
        """Decide what becomes of a job whose attempt ended without a result."""
        running = self._over(place)
        row, attempts = running.row, running.row.attempts + 1
        names = {"memory": "out of memory", "error": "failed", "input": "failed", "stopped": "interrupted"}
        outcome = names.get(how, how)
        wait_s = min(_LONGEST_BACKOFF_S, self._limits.backoff_s * 2 ** (attempts - 1))
        counts, low_memory, not_before = True, row.low_memory, 0.0
        if how == "input":
            state, counts = "failed", False
        elif how in ("stopped", "busy"):
            state, counts, not_before = "queued", False, time.time() + (wait_s if how == "busy" else 0.0)
        elif how == "memory" and not row.low_memory:
            state, low_memory = "queued", True
            self._engine.end(place)  # with the process its memory is given back, all of it
            self._models.pop(place, None)
            error += "; once more by itself, with as little memory as it can do with"
        elif attempts >= self._limits.attempts or how == "memory":
            state = "set aside"
        else:
            state, not_before = "queued", time.time() + wait_s
        self._ledger.end(
            row.key,
            state,
            outcome=outcome,
            error=error,
            counts=counts,
            not_before=not_before,
            low_memory=low_memory,
            peak_mb=peak_mb,
        )
        self._tell("failed", row.id, state=state, error=error, attempt=running.attempt, outcome=outcome)
        self._settle(row)

    def _over(self, place: int) -> _Running:
        self._alone = self._cleared = False
        return self._running.pop(place)

    def _settle(self, row: Row) -> None:
        """A candidate's parent is looked at when anything becomes of the candidate."""
        if row.parent is not None:
            parent = self._jobs[row.parent]
            state = settle(self._ledger, parent, self._out)
            if state in ("done", "set aside"):
                self._tell("parent", parent.id, state=state)

    # Watching ------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """End what takes longer, or more memory, than a job may."""
        for place, running in list(self._running.items()):
            seconds, most = self._limits.seconds, self._limits.memory_mb
            if seconds is not None and time.monotonic() - running.began > seconds:
                self._end(place, "took too long", f"it took longer than {seconds:g} s")
            elif most is not None:
                running.peak_mb = max(running.peak_mb, self._engine.memory_mb(place))
                if running.peak_mb > most:
                    self._end(
                        place,
                        "memory",
                        f"it took {running.peak_mb:.0f} MB of memory, more than its {most:.0f} MB",
                        running.peak_mb,
                    )

    def _end(self, place: int, how: str, error: str, peak_mb: float | None = None) -> None:
        self._engine.end(place)
        self._models.pop(place, None)
        self._failed(place, how, error, peak_mb)

    def _look_at_changes(self) -> None:
        """Somebody else may have cancelled jobs that are running."""
        changes = self._ledger.changes()
        if changes == self._changes:
            return
        self._changes = changes
        for place, running in list(self._running.items()):
            row = self._ledger.row(running.row.key)
            if row is not None and row.state == "cancelled":
                self._engine.end(place)
                self._models.pop(place, None)
                self._over(place)
                self._ledger.end(row.key, "cancelled", outcome="cancelled")
                self._tell("cancelled", row.id)
                self._settle(row)
