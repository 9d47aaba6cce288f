"""Sees to it that a process works off the queue as long as the server lives, and ends it with the server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from .jobs_file import jobs_file
from .processes import WORKER, living

_LOOK_EVERY_S = 1.0
_QUICK_S = 20.0  # one that ends sooner has not come to work
_LOG = "worker.log"
PROGRAM = (sys.executable, "-m", f"{__package__}.working")
"""What it starts; the folder of the runs, and how many workers, come after it."""


class Keeper:
    """Starts the process of ``working`` and starts it anew when it dies, ever later if it never comes to work.

    Args:
        workers: how many; None for as many as fit.
    Attributes:
        problem: a sentence for every page while nothing can be made, or None.
    """

    def __init__(self, runs: Path, workers: int | None = None) -> None:
        self._words = [*PROGRAM, str(runs), *([] if workers is None else [str(workers)])]
        self._folder = jobs_file(runs).parent
        self._process: subprocess.Popen[bytes] | None = None
        self._began, self._failed, self._next = 0.0, 0, 0.0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="slipcast-studio-keeper")
        self.problem: str | None = None

    def start(self) -> None:
        """Begin; one that an earlier server has left is taken over."""
        self._thread.start()

    def stop(self, patience_s: float = 20.0) -> None:
        """End the process at work: its jobs wait in the queue and go on from where they are."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join()
        import psutil

        told = living(self._folder / WORKER)
        pids = {told["pid"]} if told else set[int]()
        pids |= {self._process.pid} if self._process and self._process.poll() is None else set()
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                # The first one lets jobs at work end, the second one has them write down where they are.
                process.terminate()
                time.sleep(0.3)
                process.terminate()
                try:
                    process.wait(patience_s)
                except psutil.TimeoutExpired:
                    process.kill()
        if self._process is not None:
            self._process.wait()

    def _keep(self) -> None:
        while not self._ends.wait(_LOOK_EVERY_S if self._process else 0.0):
            self._look()

    def _look(self) -> None:
        if self._process is not None and self._process.poll() is None:
            if time.monotonic() - self._began > _QUICK_S:
                self._failed, self.problem = 0, None
            return
        if self._process is not None:
            quick = time.monotonic() - self._began < _QUICK_S
            self._failed = self._failed + 1 if quick else 0
            self._next = time.monotonic() + min(60.0, 2.0**self._failed if quick else 0.0)
            if self._failed > 1:
                self.problem = (
                    f"Nothing can be made now: the process that works on jobs ends at once ({self._said()})."
                )
            self._process = None
        if living(self._folder / WORKER) is None and time.monotonic() >= self._next:
            self._process = self._started()
        else:
            self._ends.wait(_LOOK_EVERY_S)

    def _started(self) -> subprocess.Popen[bytes]:
        self._began = time.monotonic()
        with open(self._folder / _LOG, "wb") as log:
            # A session of its own: Ctrl-C in the terminal is the server's alone.
            return subprocess.Popen(
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=os.name == "posix",
            )

    def _said(self) -> str:
        """The last line that it wrote."""
        with contextlib.suppress(OSError):
            lines = (self._folder / _LOG).read_text(encoding="utf-8", errors="replace").split("\n")
            said = [line.strip() for line in lines if line.strip()]
            if said:
                return said[-1][:300].rstrip(".")
        return f"see {self._folder / _LOG}"
