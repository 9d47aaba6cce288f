# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file of a watched folder to import next: each once, and a broken one not again until it changes.

What was taken is remembered as a small file per import, named after the path, size and time of what was imported. It is
made before the import, and only one process can make it: two Blenders that watch a folder share its files, and a file
that crashes Blender is not tried again when Blender is started again. Nothing of Blender is needed here.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

ENDINGS = (".blend", ".glb")


def take_next(folder: Path, memory: Path) -> Path | None:
    """The oldest file of the folder that was never taken as it is now, and is taken with this; None if there is none.

    Files whose names begin with a dot are on their way, or hidden by somebody. A file that was replaced or changed
    counts as a new one.

    Args:
        memory: the folder where it is remembered; made if it is not there.
    Raises:
        OSError: the folder cannot be read, or the memory cannot be written.
    """
    waiting = []
    for entry in os.scandir(folder):
        if Path(entry.name).suffix.lower() in ENDINGS and not entry.name.startswith(".") and entry.is_file():
            try:
                told = entry.stat()
            except FileNotFoundError:  # gone in the meantime
                continue
            waiting.append((told.st_mtime_ns, entry.name, told.st_size))
    memory.mkdir(parents=True, exist_ok=True)
    for time_ns, name, size in sorted(waiting):
        path = folder / name
        identity = f"{path.resolve()}\n{size}\n{time_ns}\n"
        mark = (
            memory / f"{hashlib.sha256(identity.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.taken"
        )
        try:
            with open(mark, "x", encoding="utf-8", errors="surrogateescape") as file:
                file.write(identity)
        except FileExistsError:
            continue
        return path
    return None


def forget_gone(memory: Path) -> None:
    """Remove what is remembered of files that are gone, so that the memory does not grow for ever."""
    for mark in memory.glob("*.taken"):
        try:
            path = mark.read_text(encoding="utf-8", errors="surrogateescape").partition("\n")[0]
            if path and Path(path).parent.is_dir() and not Path(path).exists():
                mark.unlink()
        except OSError:  # another Blender was quicker
            continue
