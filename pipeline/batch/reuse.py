"""Stages shared between runs: one whose key another run of the prompt has finished is copied and not made again.

A stage's key holds prompt and seed, so only the few runs of both are looked at. Files are cloned where the file system
can (reflinks on Btrfs, XFS, APFS by copy), and copied elsewhere; never hard links: people edit the files of a run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ..run.keys import named_files, stage_keys
from ..run.record import RECORD, StageRecord, changed_outputs, is_as_made, read_record
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
        for folder, record in made_elsewhere(stage, (ctx.folder / KEY).read_text(), plain, ctx.folder.parent):
            _clear(ctx.folder)  # of what a stopped attempt left
            for name in record.outputs:
                clone(folder / name, ctx.folder / name)
            if not changed_outputs(ctx.folder, record):
                ctx.progress.notice(f"{stage.name} is that of {folder.parent}")
                return record.facts
            _clear(ctx.folder)  # of files that somebody has edited there
        _bring_drawn(stage, ctx, plain)
        return stage.function(ctx)

    return run


def _bring_drawn(stage: Stage, ctx: StageContext, plain: Path) -> None:
    """Copy what a stage is to choose from (``Stage.choice``) out of a run that has made it and left the choice open."""
    own: Any = getattr(ctx.config, stage.name, None)
    if stage.choice is None or getattr(own, stage.choice) is None:
        return
    settings = replace(ctx.config, **{stage.name: replace(own, **{stage.choice: None})})
    identities = stage.identities(ctx.models.identities(list(stage.roles)))
    key = stage_keys(stage, ctx.prompt, ctx.seed, settings, {}, identities, named_files(stage, settings))[0]
    for folder, record in made_elsewhere(stage, key, plain, ctx.folder.parent):
        if all(
            name in record.outputs and is_as_made(folder / name, record.outputs[name]) for name in stage.drawn
        ):
            for name in stage.drawn:
                clone(folder / name, ctx.folder / name)
            ctx.progress.notice(f"{stage.name} was drawn by {folder.parent}")
            return


def made_elsewhere(stage: Stage, key: str, plain: Path, own: Path) -> Iterator[tuple[Path, StageRecord]]:
    """(folder, record) of finished stages of this key in other runs than ``own``."""
    for run in sorted([plain, *plain.parent.glob(f"{_literal(plain.name)}-*")]):
        folder = run / stage.folder
        if run == own or not (folder / RECORD).is_file():
            continue
        try:
            record = read_record(folder)
        except BadInput:  # a record that cannot be read is nobody's help
            continue
        there = all((folder / name).is_file() for name in record.outputs)
        if record.key == key and there and not (record.edited or record.failed):
            yield folder, record


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.name != KEY:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


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
