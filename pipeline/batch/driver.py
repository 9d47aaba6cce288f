"""The driver of a batch: gives jobs to an engine's workers, and writes down what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...configs.stopping import check_stop
from .draining import Drain
from .engine import Event
from .giving import Giving, Running
from .shares import is_last
from .verdicts import verdict

_TICK_S = 0.25
_DRAINS = "no further jobs are begun, those at work end; stop once more to stop them too"


class Driver(Giving):
    """Works off what is queued in a ledger; made as ``Giving`` is."""

    def run(self, drain: Drain, *, stays: Callable[[], bool] = lambda: False) -> None:
        """Until nothing is left to do, or until what is running is done after ``drain`` was asked.

        Args:
            stays: whether to wait for more jobs when nothing is left.
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
                if not self._running and (drain.asked is not None or self._is_over(stays)):
                    return
                for event in self._engine.wait(_TICK_S):
                    self._take(event)
                self._watch()
        finally:
            self._engine.close(gently=True)
            for running in self._running.values():
                self._ledger.end(running.row.key, "queued", outcome="interrupted")

    def _is_over(self, stays: Callable[[], bool]) -> bool:
        return self._ledger.next_time() is None and not stays()

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
            self._died(event.place, values["signal"], values.get("why"), values.get("starved", False))
            return
        self._tell(event.kind, row.id, **values)

    def _done(self, place: int, values: dict[str, Any]) -> None:
        running = self._over(place)
        row = running.row
        result = Path(values["result"])
        for out in (self._out, self._out.absolute()):
            if result.is_relative_to(out):  # the folder of runs may be moved as a whole
                result = result.relative_to(out)
        entries: dict[str, Any] = {name: values.get(name) for name in ("seconds", "peak_mb", "score")}
        entries |= {"result": str(result)}
        if row.leg:  # to those of the legs before it
            entries["seconds"] += row.seconds or 0.0
            entries["peak_mb"] = max(entries["peak_mb"] or 0.0, row.peak_mb or 0.0) or None
            entries["score"] = row.score if entries["score"] is None else entries["score"]
        if is_last(row.leg, self._legs, self._jobs[row.key].until):
            self._ledger.end(row.key, "done", outcome="done", **entries)
            self._tell("done", row.id, **values)
        else:
            self._ledger.end(row.key, "queued", outcome="passed on", leg=row.leg + 1, **entries)
            self._tell("passed on", row.id, **values)
        self._settle(row)

    def _died(self, place: int, number: int | None, why: str | None, starved: bool) -> None:
        running = self._running[place]
        self._models.pop(place, None)
        kills = self._kills()
        # Linux counts what it ends for want of memory; elsewhere SIGKILL has hardly another cause.
        starved = starved or (number == 9 and (kills is None or kills != running.kills))
        reason = f"its worker {running.worker.pid} died" + ("" if number is None else f" of signal {number}")
        reason += f" ({why})" if why else ""
        self._failed(place, "memory" if starved else "died", reason, None)

    def _failed(self, place: int, how: str, error: str, peak_mb: float | None) -> None:
        """Decide what becomes of a job whose attempt ended without a result."""
        running = self._over(place)
        row = running.row
        found = verdict(row, how, self._limits)
        if found.ends_worker:
            self._engine.end(place)
            self._models.pop(place, None)
            error += "; once more by itself, with as little memory as it can do with"
        self._ledger.end(
            row.key,
            found.state,
            outcome=found.outcome,
            error=error,
            counts=found.counts,
            not_before=time.time() + found.wait_s if found.wait_s else 0.0,
            low_memory=found.low_memory,
            peak_mb=peak_mb,
        )
        self._tell(
            "failed", row.id, state=found.state, error=error, attempt=running.attempt, outcome=found.outcome
        )
        self._settle(row)

    def _over(self, place: int) -> Running:
        self._alone = self._cleared = False
        return self._running.pop(place)

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
