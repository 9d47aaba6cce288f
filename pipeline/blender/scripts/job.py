"""What every script in here shares: its job and where the result goes, progress, and the names Blender can hold.

These files run inside Blender: the standard library, numpy and bpy are all they may import.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

PROGRESS_MARK = "slipcast-progress "  # as in process.py, which reads it
_LONGEST_NAME = 50  # bytes; data-blocks hold 63 up to Blender 4.x, and suffixes such as _basecolor must fit


def read_job() -> tuple[dict[str, Any], Path]:
    """(job, path of the result file), from the last two arguments: Blender's own come before a ``--``."""
    request, reply = (Path(argument) for argument in sys.argv[-2:])
    return json.loads(request.read_text(encoding="utf-8")), reply


def tell(part: float, doing: str) -> None:
    """Report the part done, 0 to 1, and what comes now."""
    print(PROGRESS_MARK + json.dumps([part, doing]), flush=True)


def finish(reply: Path, result: dict[str, Any]) -> None:
    """Write the result and end the process at once: bpy as a module may crash when Python takes it down."""
    reply.write_text(json.dumps(result), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)


def short_name(name: str) -> str:
    """A name that fits a data-block; a long one is cut at a character and told apart by a fingerprint."""
    data = name.encode("utf-8")
    if len(data) <= _LONGEST_NAME:
        return name
    fingerprint = hashlib.sha256(data).hexdigest()[:6]
    return data[: _LONGEST_NAME - 7].decode("utf-8", "ignore") + "-" + fingerprint
