"""The process of a worker: takes tasks from a pipe, makes them, and tells how it goes.

It leads a session of its own, so that Ctrl-C in the terminal is the driver's alone, and so that all that it starts can
be ended with it. When its driver is gone, however suddenly, it ends at once: the next driver finds nobody at work.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from ...configs.errors import SlipcastError
from ...configs.stopping import Stopped, asked_to_stop, check_stop
from ..run.progress import Advance, Reporter
from ..run.signals import stop_on_signals

Work = Callable[[Any, Reporter, Any], dict[str, Any]]
"""(task, reporter, shelf of models) -> what became of it: ``work.make_job``, or what stands in for it in a test."""

_STEP_EVERY_S = 1.0  # between two events of one bar


def main(pipe: Connection, work: Work, environment: Mapping[str, str]) -> None:
    """Work until the pipe is closed. ``environment`` is set before any library is imported that reads it."""
    os.environ.update(environment)
    if os.name == "posix":
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
    from .work import ModelShelf

    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, tasks), daemon=True, name="slipcast-driver").start()
    shelf = ModelShelf()
    talk = _Talk(pipe)
    with stop_on_signals(patient=True), contextlib.redirect_stdout(sys.stderr):
        while asked_to_stop() is None:
            try:
                task = tasks.get(
                    timeout=1.0
                )  # looks at the flag now and then: get() may sleep through a signal
            except queue.Empty:
                continue
            attempt(task, work, talk, shelf)


def _listen(pipe: Connection, tasks: queue.SimpleQueue[Any]) -> None:
    """Pass tasks on; end this process, and what it started, when nobody is left to work for."""
    while True:
        try:
            tasks.put(pipe.recv())
        except (EOFError, OSError):
            _end_all()


def _end_all() -> None:
    if os.name == "posix":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def attempt(task: Any, work: Work, talk: Callable[..., None], shelf: Any) -> None:
    """Do a task, and tell (kind, values) of all that happens; the last of it is ``done`` or ``failed``."""
    from ..run.measure import kernel_peak_mb
    from .work import kind_of

    try:
        told = work(task, Telling(talk), shelf)
    except Stopped:
        talk("failed", how="stopped", error="stopped")
    except Exception as error:
        _tell_loaded(talk, shelf)
        sentence = str(error) if isinstance(error, SlipcastError) else f"{type(error).__name__}: {error}"
        talk(
            "failed",
            how="stopped" if asked_to_stop() else kind_of(error),
            error=" ".join(sentence.split())[:500],
            peak_mb=kernel_peak_mb(),
        )
    else:
        _tell_loaded(talk, shelf)
        talk("done", **told)


def _tell_loaded(talk: Callable[..., None], shelf: Any) -> None:
    loaded = shelf.newly_loaded()
    if loaded:
        talk("loaded", models=loaded)


class _Talk:
    """Sends (kind, values) to the driver, one after the other."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()

    def __call__(self, kind: str, **values: Any) -> None:
        with self._lock:
            try:
                self._pipe.send((kind, values))
            except OSError:
                _end_all()


class Telling:
    """The reporter of a worker: all that a run says becomes an event."""

    def __init__(self, talk: Callable[..., None]) -> None:
        self._talk, self._stage, self._began = talk, "", 0.0

    def task(self, description: str, total: int) -> Advance:
        """Count steps; tell of them once a second."""
        check_stop()
        done, said = 0, time.monotonic()

        def advance(n: int = 1) -> None:
            nonlocal done, said
            check_stop()
            done += n
            now = time.monotonic()
            if now - said >= _STEP_EVERY_S:
                said = now
                self._talk("step", stage=self._stage, what=description, done=done, total=total)

        return advance

    def notice(self, sentence: str) -> None:
        """Pass a sentence on."""
        self._talk("notice", text=sentence)

    def stage_started(self, name: str) -> None:
        """A stage begins."""
        check_stop()
        self._stage, self._began = name, time.monotonic()
        self._talk("stage", stage=name, outcome="running", seconds=None)

    def stage_ended(self, name: str, outcome: str) -> None:
        """A stage was made, or kept as it was found."""
        made = name == self._stage
        seconds = round(time.monotonic() - self._began, 3) if made else 0.0
        self._talk("stage", stage=name, outcome="made" if made else "kept", seconds=seconds)
        self._stage = ""
