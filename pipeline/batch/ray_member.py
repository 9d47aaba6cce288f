"""The actor of a Ray cluster: one job at a time, with models that stay from job to job."""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from .work import Task

_MEMORY_EVERY_S = 1.0


class Member:
    """Does each job in a thread, so that what it says can be passed on meanwhile."""

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
