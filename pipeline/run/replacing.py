"""An older result makes room for a new one: what slipcast made goes, and people's own files are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

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
    kept = _free(keep_in) if foreign else None
    if kept:
        for name in foreign:
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            (old / name).rename(kept / name)
    for name in _entries(old):
        if name != RECORD:
            (old / name).unlink()
    shutil.rmtree(old)
    return kept, foreign


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
