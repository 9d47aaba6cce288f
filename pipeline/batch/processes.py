"""The engine of one machine: processes of this Python, a pipe to each, no other package.

A pipe for each worker, and no queue that all share: whoever is killed while it holds a queue's lock stops the others.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from .engine import Event
from .rows import Worker
from .worker import Work, main

_GRACE_S = 10.0  # for a worker to write down where it was
_SAME_BIRTH_S = 5.0  # a later process of the same number is younger than that


@dataclass
class _Member:
    process: SpawnProcess
    pipe: Connection
    worker: Worker


class Processes:
    """An ``Engine`` of local processes.

    Args:
        work: what a worker does with a task; must be importable by name in another process.
        environments: variables of each worker; their number is that of the workers.
    """

    def __init__(self, work: Work, environments: Sequence[Mapping[str, str]]) -> None:
        self._work, self._environments = work, list(environments)
        self._members: dict[int, _Member] = {}
        self.places = len(self._environments)

    def leg(self, place: int) -> int:
        """The first: a worker makes whole jobs."""
        return 0

    def ready(self, place: int) -> bool:
        """Always: ``give`` starts a process where there is none."""
        return True

    def give(self, place: int, task: Any) -> Worker:
        """Let the worker at a place begin with a task that ``work`` takes; it is started first if there is none."""
        if place not in self._members:
            self._members[place] = self._started(place)
        member = self._members[place]
        with contextlib.suppress(OSError):  # it died just now, which ``wait`` will tell
            member.pipe.send(task)
        return member.worker

    def _started(self, place: int) -> _Member:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(
            target=main, args=(there, self._work, self._environments[place]), name=f"slipcast-worker-{place}"
        )
        with _undisturbed():
            process.start()
        there.close()  # so that the worker alone holds its end, and each sees when the other is gone
        assert process.pid is not None
        return _Member(process, here, Worker(socket.gethostname(), process.pid, time.time()))

    def wait(self, timeout_s: float) -> list[Event]:
        """What happened, as soon as anything did; nothing, after that time."""
        by_pipe = {member.pipe: place for place, member in self._members.items()}
        if not by_pipe:
            time.sleep(timeout_s)
            return []
        events = []
        for pipe in wait(list(by_pipe), timeout_s):
            assert isinstance(pipe, Connection)
            place = by_pipe[pipe]
            try:
                while pipe.poll():
                    kind, values = pipe.recv()
                    events.append(Event(place, kind, values))
            except (EOFError, OSError):
                events.append(Event(place, "died", {"signal": self._buried(place)}))
        return events

    def _buried(self, place: int) -> int | None:
        """Put a dead worker away; the signal that ended it."""
        member = self._members.pop(place)
        member.pipe.close()
        member.process.join(_GRACE_S)
        code = member.process.exitcode
        if code is None:  # its pipe is closed, and yet it lives
            _kill(member.process)
        return -code if code is not None and code < 0 else None

    def memory_mb(self, place: int) -> float:
        """Resident memory of the worker at a place and of what it started."""
        import psutil

        if place not in self._members:
            return 0.0
        total = 0
        with contextlib.suppress(psutil.Error):  # gone in the meantime
            process = psutil.Process(self._members[place].worker.pid)
            for one in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += one.memory_info().rss
        return total / 2**20

    def end(self, place: int, *, gently: bool = False) -> None:
        """End the worker at a place. It says nothing more; ``gently`` lets it write down where it was."""
        self._end([place], gently=gently)

    def close(self, *, gently: bool = False) -> None:
        """End all workers."""
        self._end(list(self._members), gently=gently)

    def _end(self, places: Sequence[int], *, gently: bool) -> None:
        members = [self._members.pop(place) for place in places if place in self._members]
        if gently:
            for member in members:
                member.process.terminate()
            end = time.monotonic() + _GRACE_S
            for member in members:
                member.process.join(max(0.0, end - time.monotonic()))
        for member in members:
            _kill(member.process)
            member.pipe.close()


def _kill(process: SpawnProcess) -> None:
    """End a worker and all that it started."""
    with contextlib.suppress(OSError):
        if os.name == "posix" and process.pid is not None:
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()  # it may not lead its session yet
    process.join()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A process that starts here gets no Ctrl-C before it has left the terminal's group."""
    if os.name != "posix":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_orphan(worker: Worker, patience_s: float = _GRACE_S) -> None:
    """See to it that a worker whose driver was killed is gone: it ends by itself, or is ended here."""
    import psutil

    if worker.host != socket.gethostname():
        return
    with contextlib.suppress(psutil.Error):  # it is gone
        process = psutil.Process(worker.pid)
        if abs(process.create_time() - worker.born) < _SAME_BIRTH_S:
            try:
                process.wait(patience_s)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(patience_s)
