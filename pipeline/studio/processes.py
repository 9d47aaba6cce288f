"""Which process serves the pages and which works off the queue: two notes beside the ledger, read by either.

    server.json   {"pid", "born", "address"}
    worker.json   {"pid", "born"}

A note is true as long as a process of that number and age lives; whoever is killed leaves one that nobody believes.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from ...configs.atomic import read_json_object, write_json
from ...configs.errors import BadInput

SERVER, WORKER = "server.json", "worker.json"
_SAME_BIRTH_S = 2.0


def note_self(path: Path, **more: Any) -> None:
    """Write down that this process is the one."""
    import psutil

    write_json(path, {"pid": os.getpid(), "born": psutil.Process().create_time(), **more})


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
