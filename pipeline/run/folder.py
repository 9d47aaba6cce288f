"""A run's folder: what is finished, what is half done, and what is written down about it.

    <out>/<slug>-<seed>/
        manifest.json          prompt, seed, settings, versions, models and their licences, a line per stage
        10-image/              the files of a finished stage, and its stage.json
        20-lift.partial/       a stage at work, or stopped; kept and resumed as long as its key matches

``stage.json`` is the commit record: it is written last, into the partial folder, which is then renamed. A stage is
finished if its record is there, names the key asked for, and every file it lists still has its hash.
"""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from ...configs.atomic import explain_os_errors, sha256_of_folder, sync_folder, write_json, write_text
from ...configs.errors import BadInput, SlipcastError
from .lock import FolderLock
from .prompts import slug
from .stage import Stage

RECORD = "stage.json"
_KEY = ".key"
_NOT_OUTPUTS = frozenset((RECORD, _KEY))
_VERSIONS_OF = (
    "slipcast",
    "torch",
    "numpy",
    "diffusers",
    "transformers",
    "nerfacc",
    "trimesh",
    "PyMCubes",
    "xatlas",
    "usd-core",
)


@dataclass(frozen=True)
class StageRecord:
    """What is known of a finished stage; ``outputs`` is {relative path: SHA-256}."""

    key: str
    outputs: dict[str, str]
    facts: dict[str, Any]
    seconds: float
    peak_memory_mb: float
    resumed: bool = False
    edited: bool = False
    models: dict[str, dict[str, Any]] = field(default_factory=dict)


class RunFolder:
    """One run on disk. Made by ``open_run``, which also holds its lock."""

    def __init__(self, path: Path, prompt: str, seed: int) -> None:
        self.path = path
        self.manifest = self._read_manifest()
        for name, value in (("prompt", prompt), ("seed", seed)):
            if self.manifest.setdefault(name, value) != value:
                raise BadInput(
                    f"{path} is the run of another {name} ({self.manifest[name]!r}, not {value!r}); "
                    "use another --seed or --out"
                )
        self.manifest.setdefault("stages", {})

    def _read_manifest(self) -> dict[str, Any]:
        path = self.path / "manifest.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"format": 1}
        except (OSError, ValueError) as error:
            raise SlipcastError(
                f"{path} cannot be read ({error}); delete this file to keep the finished stages, "
                "or the whole folder to start afresh"
            ) from error
        if not isinstance(content, dict) or not isinstance(content.get("stages", {}), dict):
            raise SlipcastError(f"{path} is not a slipcast manifest; delete it, or use another --out")
        return content

    def save_manifest(self) -> None:
        """Write the manifest, atomically."""
        with explain_os_errors(self.path, "writing the manifest"):
            write_json(self.path / "manifest.json", self.manifest)

    def describe(self, **entries: Any) -> None:
        """Set top-level entries of the manifest and save it."""
        self.manifest |= entries
        self.save_manifest()

    def mark(self, stage: Stage, status: str, **entries: Any) -> None:
        """Write a stage's line in the manifest: running, finished, outdated, interrupted or failed."""
        self.manifest["stages"][stage.name] = {"status": status, "folder": stage.folder, **entries}
        self.save_manifest()

    def folder(self, stage: Stage) -> Path:
        """Where a finished stage's files are."""
        return self.path / stage.folder

    def partial(self, stage: Stage) -> Path:
        """Where a stage works until it is finished."""
        return self.path / f"{stage.folder}.partial"

    def record(self, stage: Stage) -> StageRecord | None:
        """The record of the stage's folder as it was written, whatever its key; None if there is none to read."""
        with explain_os_errors(self.path, f"reading stage {stage.name}"):
            self._settle(stage)
            try:
                content = json.loads((self.folder(stage) / RECORD).read_text(encoding="utf-8"))
                return StageRecord(**content)
            except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
                return None  # absent or damaged: the stage runs again

    def finished(self, stage: Stage, key: str) -> StageRecord | None:
        """The record, if it was made with this key and its files are untouched."""
        record = self.record(stage)
        return record if record and record.key == key and self._files(stage) == record.outputs else None

    def as_it_is(self, stage: Stage) -> StageRecord:
        """The record of a stage that ``--from`` skips; files edited by hand are taken over and noted as such.

        Raises:
            BadInput: the stage was never finished.
        """
        record = self.record(stage)
        if record is None:
            raise BadInput(
                f"--from needs stage {stage.name} finished in {self.path}; run without --from first"
            )
        files = self._files(stage)
        if files == record.outputs:
            return record
        record = StageRecord(**asdict(record) | {"outputs": files, "edited": True})
        with explain_os_errors(self.path, f"noting the edited files of stage {stage.name}"):
            write_json(self.folder(stage) / RECORD, asdict(record))
        return record

    def begin(self, stage: Stage, key: str) -> tuple[Path, bool]:
        """(folder to work in, whether an earlier attempt with the same key is resumed in it)."""
        partial = self.partial(stage)
        with explain_os_errors(partial, f"starting stage {stage.name}"):
            self._settle(stage)
            key_file = partial / _KEY
            resumed = key_file.is_file() and key_file.read_text(encoding="utf-8") == key
            if not resumed:
                if partial.exists():
                    key_file.unlink(missing_ok=True)  # first, so that a half-deleted folder is never resumed
                    shutil.rmtree(partial)
                partial.mkdir()
                write_text(key_file, key)
        return partial, resumed

    def commit(self, stage: Stage, **entries: Any) -> StageRecord:
        """Finish a stage: record what its partial folder holds, then give the folder its name."""
        partial = self.partial(stage)
        with explain_os_errors(partial, f"finishing stage {stage.name}"):
            record = StageRecord(outputs=sha256_of_folder(partial, leave_out=_NOT_OUTPUTS), **entries)
            write_json(partial / RECORD, asdict(record))
            self._settle(stage)
        return record

    def _settle(self, stage: Stage) -> None:
        """Rename a partial folder that holds its record; also mends a run that died between two of these steps."""
        partial, final = self.partial(stage), self.folder(stage)
        if (partial / RECORD).is_file():
            if final.exists():
                shutil.rmtree(final)  # an older result; the new one is complete, so nothing is lost half-way
            partial.rename(final)
            sync_folder(self.path)
        (final / _KEY).unlink(missing_ok=True)

    def _files(self, stage: Stage) -> dict[str, str]:
        return sha256_of_folder(self.folder(stage), leave_out=_NOT_OUTPUTS)


@contextlib.contextmanager
def open_run(out: Path, prompt: str, seed: int) -> Iterator[RunFolder]:
    """Open (or make) the run folder of a prompt and seed, for this process alone.

    Raises:
        BadInput: ``out`` is a file, or the folder belongs to another prompt.
        SlipcastError: the folder cannot be written, or another process is working in it.
    """
    path = out / f"{slug(prompt)}-{seed}"
    for existing in (out, path):
        if existing.exists() and not existing.is_dir():
            raise BadInput(f"{existing} is a file, not a folder; use another --out")
    with explain_os_errors(path, "opening the run folder"):
        path.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(path)
        lock.acquire()
    try:
        yield RunFolder(path, prompt, seed)
    finally:
        lock.release()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run makes."""
    found = {"python": platform.python_version()}
    for name in _VERSIONS_OF:
        with contextlib.suppress(metadata.PackageNotFoundError):  # an absent package has no version to tell
            found[name] = metadata.version(name)
    return found
