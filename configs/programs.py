"""Other programs as processes that are watched: their lines, a time limit, and an end to all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .stopping import check_stop, when_stopped


def watch(
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> int | None:
    """Run a program to its end, without a shell and without input; it and all it started end with this process's work.

    Args:
        on_line: called with each line that it prints, errors too, without its end.
        environment: in place of this process's.
        folder: where it runs.
    Returns:
        Its exit code, negative for a signal; None after ``timeout_s`` seconds.
    Raises:
        OSError: there is no such program.
    """
    late = threading.Event()
    # A session of its own, so that the program and all that it starts can be ended together.
    process = subprocess.Popen(
        list(command),
        env=None if environment is None else dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    timer = threading.Timer(timeout_s, lambda: (late.set(), _end(process)))
    timer.daemon = True
    timer.start()
    try:
        with when_stopped(lambda: _kill(process)):
            for line in process.stdout:
                on_line(line.rstrip("\r\n"))
            code = process.wait()
        check_stop()
    finally:
        timer.cancel()
        _end(process)
        process.stdout.close()
    return None if late.is_set() else code


def signal_name(number: int) -> str:
    """SIGKILL and the like."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        _kill(process)
        process.wait()


def _kill(process: subprocess.Popen[str]) -> None:
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
