"""The engine of a cluster: Ray core actors, each of which keeps its models.

Ray places the actors, by the CPUs, GPUs (fractions too) and memory that each asks for, and tells when one has died;
what is to be done, and what becomes of it, stays with the driver and its ledger. All nodes see the folder of runs under
the same path, or each has its own and all store what they finish at one address (``batch.remote``).
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...configs.errors import SlipcastError, in_one_line
from .engine import Event
from .ray_member import Member
from .rows import Worker
from .shares import Leg, Share
from .work import Task

_PLACED_WITHIN_S = 120.0


class RayActors:
    """An ``Engine`` of Ray actors. Made by ``ray_cluster.on_ray``.

    Args:
        places: the leg of each worker.
    """

    def __init__(
        self, ray: Any, work: Callable[..., Any], legs: Sequence[Leg], places: Sequence[int]
    ) -> None:
        self._ray, self._legs, self._leg_of, self.places = ray, legs, list(places), len(places)
        self._work = f"{work.__module__}:{work.__qualname__}"
        self._members: dict[int, tuple[Any, Worker]] = {}
        self._events: dict[int, Any] = {}  # streams of what is at work
        self._memory: dict[int, float] = {}
        self._starting: dict[int, tuple[Any, Any, float]] = {}  # actor, answer to come, asked for when

    def leg(self, place: int) -> int:
        """Which leg of jobs the worker at a place makes."""
        return self._leg_of[place]

    def give(self, place: int, task: Task) -> Worker:
        """Let the actor at a place, which is ready, begin with a task."""
        actor, worker = self._members[place]
        there = replace(task, folder=task.folder.absolute(), out=task.out.absolute())
        self._events[place] = actor.do.remote(there)
        return worker

    def _started(self, leg: int) -> Any:
        share = self._legs[leg].share
        threads = str(max(1, int(share.cpus)))
        options: dict[str, Any] = {
            "num_cpus": share.cpus,
            "num_gpus": share.gpus,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}},
        }
        if leg > 0:  # Ray packs the first workers onto few nodes, and these go where there is the most room
            options["scheduling_strategy"] = "SPREAD"
        if share.memory_mb is not None:
            options["memory"] = int(share.memory_mb * 2**20)
        return self._ray.remote(Member).options(**options).remote(self._work, str(Path.cwd()), sys.path)

    def ready(self, place: int) -> bool:
        """Whether there is an actor at a place; if not, one is asked for, which waits until the cluster has room.

        Raises:
            SlipcastError: the cluster has had room for no worker at all for long.
        """
        if place not in self._members:
            if place not in self._starting:
                actor = self._started(self.leg(place))
                self._starting[place] = actor, actor.who.remote(), time.monotonic()
            actor, who, _ = self._starting[place]
            if self._ray.wait([who], timeout=0)[0]:
                del self._starting[place]
                with contextlib.suppress(self._ray.exceptions.RayError):  # its node has died: another time
                    host, pid = self._ray.get(who)
                    self._members[place] = actor, Worker(host, pid, time.time())
        since = min((asked_at for _, _, asked_at in self._starting.values()), default=time.monotonic())
        if not self._members and time.monotonic() - since > _PLACED_WITHIN_S:
            raise SlipcastError(
                f"the cluster has had no room for a worker of {asked(self._legs[self.leg(place)].share)} for "
                f"{_PLACED_WITHIN_S:.0f} s; ask for less or add nodes, then the same command goes on"
            )
        return place in self._members

    def wait(self, timeout_s: float) -> list[Event]:
        """What happened, as soon as anything did; nothing, after that time."""
        if not self._events:
            time.sleep(timeout_s)
            return []
        places = {stream: place for place, stream in self._events.items()}
        ready, _ = self._ray.wait(list(places), timeout=timeout_s, fetch_local=False)
        events = []
        for stream in ready:
            place = places[stream]
            try:
                kind, values = self._ray.get(next(stream))
            except StopIteration:
                self._events.pop(place, None)
                continue
            except self._ray.exceptions.RayError as error:
                starved = isinstance(error, self._ray.exceptions.OutOfMemoryError)  # ended by Ray's own watch
                told = {"signal": None, "why": in_one_line(error), "starved": starved}
                events.append(Event(place, "died", told))
                self._forget(place)
                continue
            if kind == "memory":
                self._memory[place] = values["mb"]
            else:
                events.append(Event(place, kind, values))
            if kind in ("done", "failed"):
                self._events.pop(place, None)
        return events

    def _forget(self, place: int) -> None:
        for known in (self._members, self._events, self._memory):
            known.pop(place, None)

    def memory_mb(self, place: int) -> float:
        """Resident memory of the actor at a place, as it told last."""
        return self._memory.get(place, 0.0)

    def end(self, place: int, *, gently: bool = False) -> None:
        """End the actor at a place, or take back that one was asked for; finished stages are on the disk."""
        if place in self._starting:
            actor, *_ = self._starting.pop(place)
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor)
        if place in self._members:
            actor, _ = self._members[place]
            self._forget(place)
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor)

    def close(self, *, gently: bool = False) -> None:
        """End all actors."""
        for place in [*self._members, *self._starting]:
            self.end(place)


def asked(share: Share) -> str:
    """A share in words."""
    memory = "" if share.memory_mb is None else f" and {share.memory_mb:.0f} MB"
    return f"{share.cpus:g} CPUs, {share.gpus:g} GPUs{memory}"
