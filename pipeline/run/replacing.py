"""An older result or attempt makes room for a new one: what slipcast made goes, and people's own files are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from ...configs.errors import BadInput
from .record import RECORD, is_as_made, read_record

KEY = ".key"


def clear_away(old: Path, keep_in: Path) -> tuple[Path | None, list[str]]:
    """Remove a finished stage's old folder; (where the files now lie that slipcast cannot vouch for, their names).

    Those are the files that its record does not name, that were changed since, or taken over as edited by hand (all of
    them, where the record is damaged). They are moved to ``keep_in``, or ``keep_in-2`` and so on if that exists.
    Whatever is removed is removed before the record, so that a stop at any moment leaves nothing that looks foreign.
    """
    if old.is_symlink() or not old.is_dir():  # somebody's own arrangement
        kept = _free(keep_in)
        old.rename(kept)
        return kept, [kept.name]
    try:
        record = read_record(old)
        ours = {} if record.edited else record.outputs
    except BadInput:
        ours = {}
    foreign = [
        name
        for name in _entries(old)
        if name not in (RECORD, KEY)
        and ((old / name).is_symlink() or not is_as_made(old / name, ours.get(name)))
    ]
    kept = _move(old, foreign, keep_in)
    for name in _entries(old):
        if name != RECORD:
            (old / name).unlink()
    shutil.rmtree(old)
    return kept, foreign


class Written(NamedTuple):
    """A file as it was written at one moment: written again it is another."""

    name: str
    inode: int
    size: int
    changed_ns: int


def foreign_files(partial: Path, makes: Sequence[str]) -> set[Written]:
    """The files in a stage's working folder that are none of those that the stage makes.

    Args:
        makes: patterns of names, see ``Stage.makes``.
    """
    found = set()
    for name in _entries(partial):
        if name not in (KEY, RECORD) and not any(fnmatchcase(name, pattern) for pattern in makes):
            told = (partial / name).lstat()
            found.add(Written(name, told.st_ino, told.st_size, told.st_mtime_ns))
    return found


def keep_foreign(partial: Path, makes: Sequence[str], keep_in: Path) -> tuple[Path | None, list[str]]:
    """Move what ``foreign_files`` finds in an attempt that is to be forgotten; (where it now lies, names).

    Hidden files go with the attempt: half-written ones are.
    """
    names = [one.name for one in foreign_files(partial, makes)]
    names = sorted(name for name in names if not any(part[0] == "." for part in name.split("/")))
    return _move(partial, names, keep_in), names


def _move(folder: Path, names: Sequence[str], keep_in: Path) -> Path | None:
    if not names:
        return None
    kept = _free(keep_in)
    for name in names:
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).rename(kept / name)
    return kept


def _entries(folder: Path) -> list[str]:
    """Relative paths of everything below a folder that is no folder itself; links are not followed."""

    def found() -> Iterator[Path]:
        for root, folders, files in os.walk(folder):
            yield from (Path(root, name) for name in files)
            yield from (path for name in folders if (path := Path(root, name)).is_symlink())

    return sorted(path.relative_to(folder).as_posix() for path in found())


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.is_symlink() or (any(free.iterdir()) if free.is_dir() else free.exists()):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
