"""Files on their way: written aside, and moved to their places when all of them are complete."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from ...configs.atomic import explain_os_errors, sync_folder, write_bytes
from ...configs.errors import SlipcastError
from .lock import FolderLock

_PREFIX, _SUFFIX = ".slipcast-", ".tmp"
_REPLACED = "replaced"


@contextlib.contextmanager
def all_or_nothing(folder: Path, *, last: Collection[str] = ()) -> Iterator[Path]:
    """A hidden folder inside ``folder``; the files in it move into ``folder`` when the block ends well.

    If anything fails, in the block or while files move, the folder is as it was before: what was new is gone, what was
    replaced is back. Each file is replaced atomically. Hidden folders that killed processes left behind are removed.

    Args:
        last: endings, such as ``.obj``, of files that name others; they move after those.

    Raises:
        OSError: the folder cannot be written; it names the file in its final place.
    """
    _remove_orphans(folder)
    try:
        place = Path(tempfile.mkdtemp(_SUFFIX, _PREFIX, folder))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    lock = FolderLock(place)
    try:
        lock.acquire()
        yield place
        _move(place, folder, last)
    finally:
        lock.release()  # before its file is removed, which some systems ask for
        shutil.rmtree(place, ignore_errors=True)


def without_staging(sentence: str) -> str:
    """A sentence that names the final places of files and not where they were on their way."""
    return re.sub(rf"{re.escape(_PREFIX)}[^/\\]*{re.escape(_SUFFIX)}[/\\]", "", sentence)


def write_file(path: Path, what: str, data: bytes) -> None:
    """Write one file atomically; ``SlipcastError`` says which one, and what it is, where that fails."""
    with explain_os_errors(path, f"writing the {what}", then=""):
        write_bytes(path, data)


@contextlib.contextmanager
def scratch_folder(doing: str) -> Iterator[Path]:
    """A temporary folder of the system's, gone after the block; an ``OSError`` in it is said of this folder."""
    with (
        explain_os_errors(Path("TMPDIR"), "making a temporary folder", then=""),
        tempfile.TemporaryDirectory(prefix="slipcast-") as name,
        explain_os_errors(Path(name), doing, then=""),
    ):
        yield Path(name)


def _move(place: Path, folder: Path, last: Collection[str]) -> None:
    files = [path for path in place.iterdir() if path.is_file() and path.name != FolderLock.NAME]
    files.sort(key=lambda path: (path.suffix in last, path.name))
    target = folder
    try:
        for file in files:
            target = folder / file.name
            if os.path.lexists(target):
                _keep(target, place / _REPLACED)
        for file in files:
            target = folder / file.name
            os.replace(file, target)
        sync_folder(folder)
    except BaseException as error:
        for file in files:
            if not file.exists():
                _take_back(folder / file.name, place / _REPLACED / file.name)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise


def _keep(path: Path, folder: Path) -> None:
    """A second name for a file that is to be replaced; a copy where the file system knows no second names."""
    folder.mkdir(exist_ok=True)
    try:
        os.link(path, folder / path.name)
    except OSError:
        shutil.copy2(path, folder / path.name)


def _take_back(path: Path, kept: Path) -> None:
    if os.path.lexists(kept):
        os.replace(kept, path)
    else:
        path.unlink()


def _remove_orphans(folder: Path) -> None:
    """Remove the hidden folders of processes that are no more: nobody holds their locks."""
    for orphan in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        lock = FolderLock(orphan)
        try:
            lock.acquire()
        except (OSError, SlipcastError):  # at work, or not ours to touch
            continue
        lock.release()
        shutil.rmtree(orphan, ignore_errors=True)
