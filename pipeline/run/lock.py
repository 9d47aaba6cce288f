"""One process at a time in a run folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from ...configs.errors import SlipcastError


class FolderLock:
    """Holds ``<folder>/.lock`` until released.

    The operating system owns the lock, not the file's presence: when a process dies, however suddenly, its lock is
    gone, and the file that it leaves behind stops nobody. The file names the holder only for the error sentence.

    Args:
        instead: options that lead to another folder, for that sentence.
    """

    NAME = ".lock"

    def __init__(self, folder: Path, *, instead: str = "--seed or --out") -> None:
        self._path, self._instead = folder / self.NAME, instead
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock, or raise ``SlipcastError`` naming the process that has it."""
        file = open(self._path, "a+", encoding="utf-8")  # noqa: SIM115 - stays open as long as the lock is held
        try:
            _lock(file)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise SlipcastError(
                f"another slipcast (process {holder}) is working in {self._path.parent}; "
                f"wait for it, or use another {self._instead}"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let others in. The file stays: removing it could take it away from the next holder."""
        if self._file is not None:
            self._file.close()
            self._file = None


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        # A byte far beyond the text, because Windows locks also forbid reading.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
