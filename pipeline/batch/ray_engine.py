"""The engine of a cluster: Ray core actors, each of which keeps its models; needs the extra ``cluster``.

Ray places the actors, by the CPUs, GPUs (fractions too) and memory that each asks for, and tells when one has died;
what is to be done, and what becomes of it, stays with the driver and its ledger. All nodes must see the folder of runs
under the same path.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput, SlipcastError, in_one_line
from .engine import Event
from .ledger import Worker
from .work import Task

LOCAL = "local"
_PLACED_WITHIN_S = 120.0
_MEMORY_EVERY_S = 1.0


@dataclass(frozen=True)
class Share:
    """What a worker asks of the cluster; ``memory_mb`` None for none in particular."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_mb: float | None = None


class RayActors:
    """An ``Engine`` of Ray actors. Made by ``on_ray``."""

    def __init__(self, ray: Any, work: Callable[..., Any], places: int, share: Share) -> None:
        self._ray, self._share, self.places = ray, share, places
        self._work = f"{work.__module__}:{work.__qualname__}"
        self._members: dict[int, tuple[Any, Worker]] = {}
        self._events: dict[int, Any] = {}  # streams of what is at work
        self._memory: dict[int, float] = {}
        self._starting: dict[int, tuple[Any, Any]] = {}
        self._alive = time.monotonic()  # when there was a worker last
        for place in range(places):
            self.ready(place)  # all at once, for it takes seconds

    def give(self, place: int, task: Task) -> Worker:
        """Let the actor at a place, which is ready, begin with a task."""
        actor, worker = self._members[place]
        there = replace(task, folder=task.folder.absolute(), out=task.out.absolute())
        self._events[place] = actor.do.remote(there)
        return worker

    def _started(self) -> Any:
        share = self._share
        threads = str(max(1, int(share.cpus)))
        options: dict[str, Any] = {
            "num_cpus": share.cpus,
            "num_gpus": share.gpus,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}},
        }
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
                actor = self._started()
                self._starting[place] = actor, actor.who.remote()
            actor, who = self._starting[place]
            if self._ray.wait([who], timeout=0)[0]:
                del self._starting[place]
                with contextlib.suppress(self._ray.exceptions.RayError):  # its node has died: another time
                    host, pid = self._ray.get(who)
                    self._members[place] = actor, Worker(host, pid, time.time())
        if self._members:
            self._alive = time.monotonic()
        elif time.monotonic() - self._alive > _PLACED_WITHIN_S:
            share = self._share
            raise SlipcastError(
                f"the cluster has had no room for a worker ({share.cpus:g} CPUs, {share.gpus:g} GPUs) for "
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
                events.append(Event(place, "died", {"signal": None, "why": in_one_line(error)}))
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
        """End the actor at a place; finished stages and checkpoints are on the disk."""
        if place in self._members:
            actor, _ = self._members[place]
            self._forget(place)
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor)

    def close(self, *, gently: bool = False) -> None:
        """End all actors."""
        for place in list(self._members):
            self.end(place)
        for actor, _ in self._starting.values():
            self._ray.kill(actor)
        self._starting.clear()


class Member:
    """The actor: one job at a time, in a thread, so that what it says can be passed on meanwhile."""

    def __init__(self, work: str, folder: str, path: Sequence[str]) -> None:
        sys.path.extend(part for part in path if part not in sys.path)
        with contextlib.suppress(OSError):  # another machine need not have it
            os.chdir(folder)
        from .work import ModelShelf

        module, _, name = work.partition(":")
        self._work, self._shelf = getattr(importlib.import_module(module), name), ModelShelf()

    def who(self) -> tuple[str, int]:
        """(host, process number)."""
        return socket.gethostname(), os.getpid()

    def do(self, task: Task) -> Iterator[tuple[str, dict[str, Any]]]:
        """Everything that a job says, the last of it ``done`` or ``failed``."""
        import psutil

        from .worker import attempt

        said: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        thread = threading.Thread(
            target=attempt,
            args=(task, self._work, lambda kind, **values: said.put((kind, values)), self._shelf),
            daemon=True,
        )
        thread.start()
        process, kind = psutil.Process(), ""
        while kind not in ("done", "failed"):
            try:
                kind, values = said.get(timeout=_MEMORY_EVERY_S)
                yield kind, values
            except queue.Empty:
                yield "memory", {"mb": process.memory_info().rss / 2**20}
        thread.join()


@contextlib.contextmanager
def on_ray(
    address: str, work: Callable[..., Any], *, workers: int | None, share: Share
) -> Iterator[RayActors]:
    """Connect to a cluster, or start one of this machine alone (``local``), for as long as the block runs.

    Args:
        workers: None for as many as the cluster has room for.
    Raises:
        BadInput: Ray is not installed, nobody answers, or no node has room for one worker.
    """
    try:
        import ray
    except ImportError as error:
        raise BadInput('--ray needs Ray; `pip install "slipcast[cluster]"` installs it') from error
    _check_answers(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    where = {"include_dashboard": False} if address == LOCAL else {"address": address}
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # what Ray will do soon; it warns until then
    try:
        ray.init(**where, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BadInput(f"no Ray cluster answers at {address} ({in_one_line(error, 120)})") from error
    try:
        room = _room(ray.nodes(), share)
        if room == 0:
            raise BadInput(
                f"no node of the cluster has room for a worker of {share.cpus:g} CPUs and {share.gpus:g} GPUs"
            )
        yield RayActors(ray, work, min(workers or room, room), share)
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """A cluster that is not there is told within seconds; Ray itself tries for minutes."""
    if "://" in address:
        raise BadInput(
            f"--ray expects {LOCAL}, auto or the head node's host:port, not {address!r}; "
            "run the command on a machine of the cluster"
        )
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=10.0).close()
        except (OSError, OverflowError) as error:
            raise BadInput(f"no Ray cluster answers at {address} ({in_one_line(error, 120)})") from error


def _room(nodes: Sequence[dict[str, Any]], share: Share) -> int:
    """How many workers the living nodes hold."""
    total = 0
    for node in nodes:
        has = node.get("Resources", {}) if node.get("Alive") else {}
        fits = [
            has.get(name, 0.0) // want
            for name, want in (("CPU", share.cpus), ("GPU", share.gpus))
            if want > 0
        ]
        if share.memory_mb:
            fits.append(has.get("memory", 0.0) // (share.memory_mb * 2**20))
        total += int(min(fits, default=0))
    return total
