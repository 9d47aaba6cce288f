# SPDX-License-Identifier: GPL-3.0-or-later
"""A command in the background: never waited for, its progress read from stderr, ended on request.

Nothing of Blender is needed here.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Any

# Where each stage of `slipcast make` begins, as a part of the whole: about what the starter models take.
_STARTS = {"image": 0.0, "lift": 0.10, "refine": 0.12, "mesh": 0.88, "export": 0.96}
_ENDS = dict(zip(_STARTS, [*list(_STARTS.values())[1:], 1.0], strict=True))
_GRACE_S = 10.0  # the command saves what it has when it is interrupted


def progress_of(line: str) -> float | None:
    """The part done, 0 to 1, that a line on the command's stderr stands for; None if it tells nothing about it."""
    found = re.match(r"(\w+)(?: \.\.\.$|: (.*))", line)
    if found is None or found[1] not in _STARTS:
        return None
    start, end, rest = _STARTS[found[1]], _ENDS[found[1]], found[2]
    if rest is None:
        return start
    steps = re.search(r" (\d+)/(\d+)", rest)
    if steps is not None:
        return start + (end - start) * int(steps[1]) / max(1, int(steps[2]))
    return end


class Task:
    """One run of a command. Call ``poll`` now and then; it returns at once."""

    def __init__(self, command: list[str], folder: Path) -> None:
        """Start the command; OSError if it cannot be started."""
        self.fraction, self.line, self.cancelled = 0.0, "starting", False
        self._killed_at: float | None = None
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._output: list[str] = []
        # A group of its own: cancelling reaches what the command started, and not Blender.
        own_group: dict[str, Any] = {"start_new_session": True}
        if os.name == "nt":
            own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
            **own_group,
        )
        self._readers = [
            threading.Thread(target=_read, args=(self._process.stdout, self._output.append), daemon=True),
            threading.Thread(target=_read, args=(self._process.stderr, self._said.put), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def poll(self) -> bool:
        """Take in what the command said; whether it still runs."""
        running = self._process.poll() is None
        if not running:
            for reader in self._readers:
                reader.join(timeout=1.0)  # the pipes are closed: this is the last of what it said
        while not self._said.empty():
            line = self._said.get().strip()
            if line:
                self.line = line
                self.fraction = max(self.fraction, progress_of(line) or 0.0)
        if running and self._killed_at is not None and time.monotonic() > self._killed_at:
            self._kill()
        return running

    def cancel(self) -> None:
        """Ask the command to stop; it is ended for good if it has not stopped ten seconds later."""
        if self.cancelled or self._process.poll() is not None:
            return
        self.cancelled = True
        self._killed_at = time.monotonic() + _GRACE_S
        if os.name == "nt":
            self._process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            os.killpg(self._process.pid, signal.SIGINT)

    def end(self) -> None:
        """End the command now and wait for that, as when Blender is closed."""
        if self._process.poll() is None:
            self.cancelled = True
            self._kill()
            self._process.wait()

    def _kill(self) -> None:
        if os.name == "nt":
            self._process.kill()
        else:
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def result(self) -> dict[str, Any] | None:
        """The JSON object on the command's stdout that tells the run, once there is one.

        There is one too if some of the files could not be written (exit code 1); ``failure`` then says so.
        """
        if self._process.poll() not in (0, 1):
            return None
        try:
            told = json.loads("".join(self._output))
        except ValueError:
            return None
        return told if isinstance(told, dict) and "run" in told else None

    @property
    def failure(self) -> str:
        """What is wrong once the command has ended, in one sentence; empty if nothing is."""
        if self.cancelled and self.result is None:
            return "stopped; the same prompt and seed go on from here"
        if self._process.poll():
            return self.line.removeprefix("slipcast: ")
        return "" if self.result else "the command ended without a result"


def _read(stream: IO[str], take: Any) -> None:
    with stream:
        for line in stream:
            take(line)
