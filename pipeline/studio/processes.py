"""Which process serves the pages and which works off the queue: two notes beside the ledger, read by either.

    server.json   {"pid", "born", "address"}
    worker.json   {"pid", "born"}

A note is true as long as a process of that number and age lives; whoever is killed leaves one that nobody believes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...configs.atomic import explain_os_errors, read_json_object, write_json
from ...configs.errors import BadInput

SERVER, WORKER = "server.json", "worker.json"
COMMAND = (sys.executable, "-m", "slipcast.pipeline.cli.app")
"""``slipcast``, by this Python."""
_SAME_BIRTH_S = 2.0


def note_self(path: Path, **more: Any) -> None:
    """Write down that this process is the one."""
    import psutil

    write_json(path, {"pid": os.getpid(), "born": psutil.Process().create_time(), **more})


def start_noted(words: Sequence[str], note: Path, *, said: Path, errors: Path | None = None) -> None:
    """Start a program that outlives this one, and note it.

    Args:
        said: where what it prints goes, and its errors too unless ``errors`` is given.
    Raises:
        SlipcastError: it cannot be started.
    """
    import psutil

    with explain_os_errors(note, "starting a process", then=""):
        note.parent.mkdir(parents=True, exist_ok=True)
        with open(said, "wb") as out, open(errors or os.devnull, "wb") as apart:
            process = subprocess.Popen(
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out if errors is None else apart,
                start_new_session=os.name == "posix",
            )
        # Somebody has to wait for it, or what is left of it when it ends would look alive.
        threading.Thread(target=process.wait, daemon=True, name="slipcast-studio-waits").start()
        with contextlib.suppress(psutil.Error):  # it is over already
            write_json(note, {"pid": process.pid, "born": psutil.Process(process.pid).create_time()})


def living(path: Path) -> dict[str, Any] | None:
    """What a note says, if its process lives."""
    import psutil

    try:
        told = read_json_object(path, "a note on a process")
        process = psutil.Process(int(told["pid"]))
        born = abs(process.create_time() - float(told["born"])) < _SAME_BIRTH_S
        return told if born and process.status() != psutil.STATUS_ZOMBIE else None
    except (BadInput, KeyError, TypeError, ValueError, psutil.Error):
        return None


def forget_self(path: Path) -> None:
    """Take this process's note away; another's stays."""
    told = living(path)
    if told is not None and told["pid"] == os.getpid():
        with contextlib.suppress(OSError):
            path.unlink()
