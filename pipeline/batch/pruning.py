"""Runs that are removed, and what is kept of them: files that slipcast did not make are never touched.

What a stage made is what its ``stage.json`` lists, byte for byte; a file that was edited since is its editor's. Beside
those only slipcast's own book-keeping goes: the manifest, the copy of a run's file, locks, records, half-made stages.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...configs.atomic import explain_os_errors
from ...configs.errors import BadInput, SlipcastError
from ..run.lock import FolderLock
from ..run.manifest import MANIFEST, read_manifest
from ..run.record import RECORD, is_as_made, read_record
from ..run.replacing import KEY
from ..stages.table import all_stages
from .listing import size_of
from .staged import COPY

_BOOKS = (COPY, "report.html")


@dataclass(frozen=True)
class Pruned:
    """What became of a run: ``freed`` bytes, files that are ``kept`` in its folder, or ``why`` it was left alone."""

    path: Path
    freed: int
    kept: tuple[Path, ...] = ()
    why: str | None = None


def prune(runs: Sequence[Path]) -> list[Pruned]:
    """Remove runs; one that somebody is working in is left alone.

    Raises:
        SlipcastError: a file cannot be removed; what was removed before stays removed.
    """
    return [_prune(run) for run in runs]


def _prune(run: Path) -> Pruned:
    before = size_of(run)
    lock = FolderLock(run)
    with explain_os_errors(run, "removing the run", then=""):
        try:
            lock.acquire()
        except SlipcastError as error:
            return Pruned(run, 0, why=str(error))
        try:
            for folder in _stage_folders(run):
                _empty(folder)
            _remove_books(run)
        finally:
            lock.release()
        kept = tuple(
            path for path in sorted(run.rglob("*")) if path.name != FolderLock.NAME and not _is_folder(path)
        )
        if not kept:
            shutil.rmtree(run)
        else:
            (run / FolderLock.NAME).unlink(missing_ok=True)
    return Pruned(run, before - (size_of(run) if run.exists() else 0), kept)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _stage_folders(run: Path) -> list[Path]:
    """The folders of stages, by the table and by the manifest, which knows those of packages that are gone."""
    names = {stage.folder for stage in all_stages()}
    with contextlib.suppress(BadInput):
        told = {line.folder for line in read_manifest(run).stages.values()}
        names |= {name for name in told if name and Path(name).name == name}
    return [folder for name in sorted(names) if _is_folder(folder := run / name)]


def _empty(folder: Path) -> None:
    """Remove what the stage's record says that it made, and the record last, so that a stop leaves nothing unnamed."""
    try:
        record = read_record(folder)
    except BadInput:
        return  # nobody can say what of it was made
    ours = {} if record.edited else record.outputs
    for name, sha256 in ours.items():
        path = folder / name
        if not path.is_symlink() and is_as_made(path, sha256):
            path.unlink()
    for name in (KEY, RECORD):
        (folder / name).unlink(missing_ok=True)
    _remove_if_empty(folder)


def _remove_books(run: Path) -> None:
    for stage in all_stages():
        for ending in ("partial", "old"):
            half_made = run / f"{stage.folder}.{ending}"
            if ending == "partial" and (half_made / KEY).is_file() and not (half_made / RECORD).exists():
                shutil.rmtree(half_made)
            elif _is_folder(half_made):
                _empty(half_made)
    for name in _BOOKS:
        (run / name).unlink(missing_ok=True)
    (run / MANIFEST).unlink(missing_ok=True)  # the last, so that a stopped removal is still found as a run


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder, and those in it, if no file is in any of them."""
    if not any(not _is_folder(path) for path in folder.rglob("*")):
        shutil.rmtree(folder)
