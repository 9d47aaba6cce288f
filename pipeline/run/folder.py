"""A run's folder: what is finished, what is half done, and what is written down about it.

    <out>/<slug>-<seed>/
        manifest.json          prompt, seed, settings, versions, models and their licences, a line per stage
        10-image/              the files of a finished stage, and its stage.json
        20-lift.partial/       a stage at work, or stopped; kept and resumed as long as its key matches
        20-lift.old/           an older result that is just being replaced
        50-export.kept/        files that people had put into 50-export, from before it was made anew

``stage.json`` is the commit record: it is written last, into the partial folder, which is then renamed. A stage is
finished if its record is there, names the key asked for, and every file it lists still has its hash. Files that it does
not list are people's own: they are no reason to run, and never removed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...configs.atomic import (
    explain_os_errors,
    remove_stale_temporaries,
    sync_folder,
    write_json,
    write_text,
)
from ...configs.errors import BadInput
from ...configs.names import shown
from .keys import Keys
from .lock import FolderLock
from .manifest import MANIFEST, Manifest, StageLine, read_manifest
from .prompts import older_slug, slug
from .record import RECORD, StageRecord, changed_outputs, outputs_of, read_record, write_record
from .replacing import KEY, Written, clear_away, foreign_files, keep_foreign
from .stage import Stage


class RunFolder:
    """One run on disk. Made by ``open_run``, which also holds its lock; ``notice`` is told what people should know."""

    def __init__(self, path: Path, prompt: str, seed: int, notice: Callable[[str], None]) -> None:
        self.path, self._notice = path, notice
        self._foreign: set[Written] = set()
        self.manifest = self._read_manifest() or Manifest(prompt, seed)
        check_same_run(path, self.manifest, prompt, seed)

    def _read_manifest(self) -> Manifest | None:
        if not (self.path / MANIFEST).exists():
            return None
        try:
            return read_manifest(self.path)
        except BadInput as error:
            raise BadInput(
                f"{error}; to keep the finished stages delete this file, to start afresh the whole folder"
            ) from error

    def save_manifest(self) -> None:
        """Write the manifest, atomically."""
        with explain_os_errors(self.path, "writing the manifest"):
            write_json(self.path / MANIFEST, self.manifest.as_json())

    def mark(self, stage: Stage, status: str, **entries: Any) -> None:
        """Write a stage's line in the manifest: running, finished, outdated, interrupted or failed."""
        before = self.manifest.stages.get(stage.name)
        kept = {} if before is None else before.extra
        self.manifest.stages[stage.name] = StageLine(
            status=status, folder=stage.folder, extra=kept, **entries
        )
        self.save_manifest()

    def folder(self, stage: Stage) -> Path:
        """Where a finished stage's files are."""
        return self.path / stage.folder

    def partial(self, stage: Stage) -> Path:
        """Where a stage works until it is finished."""
        return self.path / f"{stage.folder}.partial"

    def record(self, stage: Stage) -> StageRecord | None:
        """The record of the stage's folder as it was written, whatever its key; None if there is none to read."""
        folder = self.folder(stage)
        with explain_os_errors(self.path, f"reading stage {stage.name}"):
            self._settle(stage)
            if not (folder / RECORD).exists():
                return None
            try:
                return read_record(folder)
            except BadInput as error:
                self._notice(f"{error}, so stage {stage.name} counts as not finished")
                return None

    def finished(self, stage: Stage, keys: Keys) -> StageRecord | None:
        """The record, if it was made with one of these keys and its files are untouched."""
        record = self.record(stage)
        if record is None or record.key not in keys:
            return None
        with explain_os_errors(self.path, f"reading stage {stage.name}"):
            changed = changed_outputs(self.folder(stage), record)
        if changed:
            self._notice(
                f"stage {stage.name} runs again, for files of it are gone or changed: {_listed(changed)}"
            )
        return None if changed else record

    def as_it_is(self, stage: Stage) -> StageRecord:
        """The record of a stage that ``--from`` skips; files edited by hand are taken over and noted as such.

        Raises:
            BadInput: the stage was never finished.
        """
        record, folder = self.record(stage), self.folder(stage)
        if record is None:
            raise BadInput(
                f"--from needs stage {stage.name} finished in {self.path}; run without --from first"
            )
        with explain_os_errors(folder, f"noting the edited files of stage {stage.name}"):
            if changed_outputs(folder, record):
                there = outputs_of(folder)
                outputs = {name: there[name] for name in record.outputs if name in there}
                record = replace(record, outputs=outputs, edited=True)
                write_record(folder, record)
        return record

    def begin(self, stage: Stage, keys: Keys) -> tuple[Path, bool]:
        """(folder to work in, whether an earlier attempt with one of these keys is resumed in it)."""
        partial = self.partial(stage)
        with explain_os_errors(partial, f"starting stage {stage.name}"):
            self._settle(stage)
            key_file = partial / KEY
            resumed = key_file.is_file() and key_file.read_bytes() in [key.encode() for key in keys]
            if not resumed:
                self._discard(stage)
                partial.mkdir()
                write_text(key_file, keys[0])
            self._foreign = foreign_files(partial, stage.makes)
        return partial, resumed

    def discard_partial(self, stage: Stage) -> None:
        """Forget an unfinished attempt at a stage."""
        with explain_os_errors(self.partial(stage), f"clearing stage {stage.name}"):
            self._settle(stage)
            self._discard(stage)

    def _discard(self, stage: Stage) -> None:
        partial = self.partial(stage)
        if partial.exists():
            kept, names = keep_foreign(partial, stage.makes, self.path / f"{stage.folder}.kept")
            if kept:
                self._notice(
                    f"files that are not of an attempt at stage {stage.name} are kept in {kept}: {_listed(names)}"
                )
            (partial / KEY).unlink(missing_ok=True)  # first, so that a half-deleted folder is never resumed
            shutil.rmtree(partial)

    def commit(self, stage: Stage, **entries: Any) -> StageRecord:
        """Finish a stage: record what it left in its partial folder, then give the folder its name.

        Files that lay there before it began, are none that it makes and are still the same are somebody's own.
        """
        partial = self.partial(stage)
        with explain_os_errors(partial, f"finishing stage {stage.name}"):
            there = outputs_of(partial)
            foreign = {one.name for one in self._foreign & foreign_files(partial, stage.makes)}
            outputs = {name: value for name, value in there.items() if name not in foreign}
            record = StageRecord(outputs=outputs, **entries)
            write_record(partial, record)
            self._settle(stage)
        return record

    def _settle(self, stage: Stage) -> None:
        """Rename a partial folder that holds its record; also mends a run that died between any two of these steps.

        At each moment either the older result or the new one is there whole.
        """
        partial, final = self.partial(stage), self.folder(stage)
        old = self.path / f"{stage.folder}.old"
        if (partial / RECORD).is_file():
            if final.exists():
                self._clear_away(stage, old)
                final.rename(old)
            partial.rename(final)
            sync_folder(self.path)
        elif old.exists() and not final.exists():
            old.rename(final)
        (final / KEY).unlink(missing_ok=True)
        self._clear_away(stage, old)

    def _clear_away(self, stage: Stage, old: Path) -> None:
        if old.exists():
            kept, names = clear_away(old, self.path / f"{stage.folder}.kept")
            if kept:
                self._notice(
                    f"files that are not as stage {stage.name} made them are kept in {kept}: {_listed(names)}"
                )


def run_path(out: Path, prompt: str, seed: int) -> Path:
    """Where the run of a prompt and seed lies, or is to lie.

    Versions up to 0.1 named folders by a shorter rule; such a folder is found if its manifest says that it is this run.
    """
    with explain_os_errors(out, "looking for the run"):
        path, older = (out / f"{name}-{seed}" for name in (slug(prompt), older_slug(prompt)))
        if path.exists() or not older.is_dir():
            return path
    try:
        manifest = read_manifest(older)
    except BadInput:  # whose ever it is, nothing says that it is this prompt's
        return path
    return older if (manifest.prompt, manifest.seed) == (prompt, seed) else path


def check_same_run(path: Path, manifest: Manifest, prompt: str, seed: int) -> None:
    """BadInput if a folder's manifest is that of another prompt or seed."""
    for name, value in (("prompt", prompt), ("seed", seed)):
        if getattr(manifest, name) != value:
            raise BadInput(
                f"{path} is the run of another {name} ({shown(getattr(manifest, name))}, not {shown(value)}); "
                "use another --seed or --out"
            )


@contextlib.contextmanager
def open_run(
    path: Path, prompt: str, seed: int, notice: Callable[[str], None] = lambda sentence: None
) -> Iterator[RunFolder]:
    """Open (or make) the run folder of a prompt and seed, for this process alone.

    Raises:
        BadInput: the path leads through a file, or the folder belongs to another prompt.
        SlipcastError: the folder cannot be written, or another process is working in it.
    """
    with explain_os_errors(path, "opening the run folder"):
        for existing in (path.parent, path):
            if existing.exists() and not existing.is_dir():
                raise BadInput(f"{existing} is a file, not a folder; use another --out")
        path.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(path)
        lock.acquire()
    try:
        with explain_os_errors(path, "opening the run folder"):
            remove_stale_temporaries(path)
        yield RunFolder(path, prompt, seed, notice)
    finally:
        lock.release()


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
