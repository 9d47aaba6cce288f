"""Stages shared between runs: one whose key another run of the prompt has finished is copied and not made again.

A stage's key holds prompt and seed, so only the few runs of both are looked at. Files are cloned where the file system
can (reflinks on Btrfs, XFS, APFS by copy), and copied elsewhere; never hard links: people edit the files of a run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ..run.record import RECORD, StageRecord, changed_outputs, read_record
from ..run.replacing import KEY
from ..run.stage import Stage, StageContext

_FICLONE = 0x40049409  # Linux: share a file's blocks until one of the two is written to


def sharing(stages: Sequence[Stage], plain: Path) -> list[Stage]:
    """The stages, each of which first looks whether another run of the prompt and seed holds what it is to make.

    Args:
        plain: folder of the first of those runs; the others' names begin with its name (``batch.placing``).
    """
    return [replace(stage, function=_shared(stage, plain)) for stage in stages]


def _shared(stage: Stage, plain: Path) -> Any:
    def run(ctx: StageContext) -> Mapping[str, Any]:
        found = _find(stage, ctx, plain)
        if found is None:
            return stage.function(ctx)
        folder, record = found
        for entry in ctx.folder.iterdir():  # what a stopped attempt left
            if entry.name != KEY:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        for name in record.outputs:
            clone(folder / name, ctx.folder / name)
        if changed_outputs(ctx.folder, record):  # somebody edits them just now
            return stage.function(ctx)
        ctx.progress.notice(f"{stage.name} is that of {folder.parent}")
        return record.facts

    return run


def _find(stage: Stage, ctx: StageContext, plain: Path) -> tuple[Path, StageRecord] | None:
    """(folder, record) of a finished stage with the key that this run's stage works under."""
    key = (ctx.folder / KEY).read_text()
    for run in sorted([plain, *plain.parent.glob(f"{_literal(plain.name)}-*")]):
        folder = run / stage.folder
        if folder.parent == ctx.folder.parent or not (folder / RECORD).is_file():
            continue
        with contextlib.suppress(BadInput, OSError):  # a record that cannot be read is nobody's help
            record = read_record(folder)
            whole = record.key == key and not record.edited and not record.facts.get("failed")
            if whole and not changed_outputs(folder, record):
                return folder, record
    return None


def _literal(name: str) -> str:
    """A name for ``glob``, in which [ ? * stand for themselves."""
    return "".join(f"[{letter}]" if letter in "[?*" else letter for letter in name)


def clone(source: Path, target: Path) -> None:
    """A copy of a file that shares its blocks where the file system knows how; both may be edited afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as old, open(target, "wb") as new:
        try:
            import fcntl

            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except (ImportError, OSError):
            shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(new.fileno())
