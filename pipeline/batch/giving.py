"""Which worker is given which job next: the half of the driver that looks for places, memory and warm models.

Where stages go to workers of different kinds (``batch.shares``), a job is given leg by leg. A worker takes jobs of its
leg as long as there are any, so that its models stay; one that has none makes room for workers of another leg.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...configs.errors import BadInput
from .engine import Engine
from .entering import settle
from .jobs import Job
from .ledger import Ledger
from .resources import FIRST_GUESS_MB, free_memory_mb, kernel_kills
from .rows import Row, Worker
from .shares import Leg, Share, stop_at
from .verdicts import Limits
from .work import Task, model_group

Tell = Callable[..., None]
"""(kind, job's id or None, **values): every event goes through it."""


@dataclass
class Running:
    """A job at work. ``kills``: of the system, for want of memory, when it began."""

    row: Row
    attempt: int
    worker: Worker
    kills: int | None
    began: float = field(default_factory=time.monotonic)
    peak_mb: float = 0.0


class Giving:
    """A ledger, an engine, and what is at work.

    Args:
        jobs: {key: job} of all that may be due; one whose look-up raises ``BadInput`` fails with that sentence.
        tell: is told of every event.
        legs: into which every job is divided; by default one worker makes all of it.
        remote: address that finished stages go to (``batch.remote``), or None.
        idle_s: so long a worker of one leg waits for a job before it makes room for those of another.
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
        legs: Sequence[Leg] = (Leg(Share()),),
        remote: str | None = None,
        idle_s: float = 5.0,
        free_mb: Callable[[], float] = free_memory_mb,
        kills: Callable[[], int | None] = kernel_kills,
    ) -> None:
        self._ledger, self._engine, self._jobs, self._out = ledger, engine, jobs, out
        self._limits, self._tell, self._free_mb, self._kills = limits, tell, free_mb, kills
        self._legs, self._remote, self._idle_s = legs, remote, idle_s
        self._idle: dict[int, float] = {}  # since when
        self._running: dict[int, Running] = {}
        self._models: dict[int, str] = {}
        self._alone = self._cleared = self._waits_for_memory = self._drains = False
        ledger.from_the_first_leg()
        self._changes = ledger.changes()

    def _fill(self) -> None:
        if self._alone:
            return
        now = time.time()
        alone = self._ledger.due(now, low_memory=True)
        if alone is not None:  # nothing else is begun until it has the machine to itself
            place = self._places(alone.leg)[0]
            if not self._running and self._has_place_alone(place):
                self._alone = True
                self._give(place, alone)
            return
        idle: list[int] = []
        waiting = 0
        for leg in reversed(range(len(self._legs))):  # what is begun is ended first
            free = [place for place in self._places(leg) if place not in self._running]
            due = self._ledger.due_count(now, leg, len(free))
            waiting += due
            idle += free[due:]
            for place in free[:due]:
                if not self._engine.ready(place):
                    continue
                if self._running and not self._has_memory(place):
                    return
                row = self._next(place, leg, now)
                if row is None:
                    break
                self._give(place, row)
                waiting -= 1
        if len(self._legs) > 1:
            self._make_room(idle, waiting > 0)

    def _make_room(self, idle: Sequence[int], others_wait: bool) -> None:
        """End workers that have had nothing to do for a while, where others have and wait for a place."""
        now = time.monotonic()
        self._idle = {place: self._idle.get(place, now) for place in idle}
        for place, since in self._idle.items():
            if others_wait and now - since >= self._idle_s:
                self._models.pop(place, None)
                self._engine.end(place)

    def _places(self, leg: int) -> list[int]:
        """Those of a leg, the ones whose workers have models first."""
        places = (place for place in range(self._engine.places) if self._engine.leg(place) == leg)
        return sorted(places, key=lambda place: place not in self._models)

    def _has_place_alone(self, place: int) -> bool:
        """Whether a worker is ready after all others were ended, which gives their memory back."""
        if not self._cleared:
            self._engine.close()
            self._models.clear()
            self._cleared = True
        return self._engine.ready(place)

    def _next(self, place: int, leg: int, now: float) -> Row | None:
        """The next job, one for the models that the worker has if there is any."""
        warm = self._models.get(place)
        row = None if warm is None else self._ledger.due(now, models=warm, leg=leg)
        return row or self._ledger.due(now, leg=leg)

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
        try:
            job = self._jobs[row.key]
        except BadInput as error:
            # Of jobs that are read when their turn comes: what this one names has gone since.
            self._ledger.set_state(row.key, "failed", error=str(error))
            self._tell("failed", row.id, state="failed", error=str(error), attempt=0, outcome="failed")
            return
        task = Task(
            key=row.key,
            prompt=job.prompt,
            seed=job.seed,
            config=job.config,
            folder=self._out / row.folder,
            out=self._out,
            picture=job.picture,
            until=stop_at(row.leg, self._legs, job.until),
            low_memory=row.low_memory,
            remote=self._remote,
        )
        kills = self._kills()
        worker = self._engine.give(place, task)
        self._models[place] = model_group(job.config)
        attempt = self._ledger.start(row.key, worker)
        self._running[place] = Running(row, attempt, worker, kills)
        self._settle(row)
        self._tell(
            "started", row.id, attempt=attempt, host=worker.host, pid=worker.pid, folder=str(task.folder)
        )

    def _settle(self, row: Row) -> None:
        """A candidate's parent is looked at when anything becomes of the candidate."""
        if row.parent is not None:
            parent = self._jobs[row.parent]
            state = settle(self._ledger, parent, self._out)
            if state in ("done", "set aside"):
                self._tell("parent", parent.id, state=state)
