"""Runs at an address of fsspec, such as ``s3://bucket/prefix``: finished stages go there, and come back to go on from.

Runs are always made in a folder of this machine. There is one rule that makes what lies at the address whole or absent,
as ``run.folder`` has it on a disk: of a stage, ``stage.json`` is stored last, and removed first where a stage was made
anew. What comes back is taken only if every file has the hash that this record names.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ...configs.atomic import explain_os_errors, write_bytes
from ...configs.errors import BadInput, SlipcastError, in_one_line
from ..run.manifest import MANIFEST
from ..run.progress import Progress
from ..run.record import RECORD, changed_outputs, read_record

_OF_A_RUN = (MANIFEST, "report.html", "thumbnail.jpg", "run.yaml")
"""Files beside the stages' folders that are stored with a run, the manifest first."""
_NO_FOLDERS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci")
"""Object stores: names may hold slashes, and there is nothing to make before a file."""
_PROBE = ".slipcast-probe"
_COMING = ".coming"  # ending of the hidden folder that a stage comes back into


def is_address(out: str) -> bool:
    """Whether ``--out`` names no folder of this machine."""
    return "://" in out


class Remote:
    """The runs below an address. Nothing of fsspec is imported before one is made.

    Raises:
        BadInput: fsspec, or what it needs for this kind of address, is not installed; the address is none.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        try:
            from fsspec.core import url_to_fs

            # Others may write there too: a remembered listing would be an old one.
            self._fs, root = url_to_fs(address, use_listings_cache=False, skip_instance_cache=True)
        except ImportError as error:
            raise BadInput(
                f"--out {address} needs more than is installed ({in_one_line(error)}); "
                '`pip install "slipcast[cluster]"` brings fsspec and s3fs, other addresses have packages of their own'
            ) from error
        except ValueError as error:
            raise BadInput(
                f"--out {address} is no address that can be used ({in_one_line(error)})"
            ) from error
        self._root = root.rstrip("/")
        self._flat = address.partition("://")[0] in _NO_FOLDERS

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """What a file system raises, whatever its kind, as a sentence."""
        try:
            yield
        except SlipcastError:
            raise
        except Exception as error:  # botocore's, aiohttp's and Google's errors have no common base
            reason = in_one_line(error) if str(error).strip() else type(error).__name__
            raise SlipcastError(
                f"{self.address}: {doing} failed ({reason}); what is finished lies here, nothing half-stored counts "
                "there, and the same command goes on"
            ) from error

    def _place(self, *parts: str) -> str:
        return "/".join((self._root, *parts))

    def _put(self, data: bytes | Path, place: str) -> None:
        if not self._flat:
            self._fs.makedirs(place.rpartition("/")[0], exist_ok=True)
        if isinstance(data, Path):
            self._fs.put_file(str(data), place)
        else:
            self._fs.pipe_file(place, data)

    def _read(self, place: str) -> bytes | None:
        try:
            return self._fs.cat_file(place)
        except FileNotFoundError:
            return None

    def _remove(self, place: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(place)

    def check(self) -> None:
        """Write and remove a file, so that an address that takes nothing is told before anything is made.

        Raises:
            BadInput: it cannot be written.
        """
        try:
            with self._explained("writing"):
                self._put(b"slipcast tries whether it may write here\n", self._place(_PROBE))
                self._remove(self._place(_PROBE))
        except SlipcastError as error:
            raise BadInput(f"{str(error).partition(';')[0]}; nothing was made") from error

    def runs(self) -> set[str]:
        """Names of the runs that are there."""
        with self._explained("listing"):
            try:
                found = self._fs.ls(self._root, detail=False)
            except FileNotFoundError:  # the first batch to this address
                return set()
            return {str(name).rstrip("/").rpartition("/")[2] for name in found}

    def manifests(self, names: Collection[str], folder: Path) -> None:
        """Copy the manifests of runs, by their names, into a folder of this machine, a folder each."""
        with self._explained("reading manifests"):
            places = {self._place(name, MANIFEST): name for name in names}
            found = self._fs.cat(list(places), on_error="omit") if places else {}
            for place, name in places.items():
                content = found.get(place, found.get(f"/{place}"))
                if content is not None:
                    (folder / name).mkdir(parents=True, exist_ok=True)
                    write_bytes(folder / name / MANIFEST, content)

    # Going there ---------------------------------------------------------------------------------------------------

    def store_stage(self, folder: Path, progress: Progress) -> None:
        """Store a finished stage of a run, if it is not there already.

        Raises:
            SlipcastError: it cannot be stored, or read here.
        """
        run, stage = folder.parent.name, folder.name
        with (
            explain_os_errors(folder, f"storing it at {self.address}"),
            self._explained(f"storing {run}/{stage}"),
        ):
            record = (folder / RECORD).read_bytes()
            before = self._read(self._place(run, stage, RECORD))
            if before == record:
                return
            outputs = list(read_record(folder).outputs)
            manifest = folder.parent / MANIFEST
            if manifest.is_file():  # says with which device and precision a run began
                self._put(manifest, self._place(run, MANIFEST))
            self._remove(self._place(run, stage, RECORD))
            advance = progress.task(f"storing {stage}", len(outputs))
            for name in outputs:
                self._put(folder / name, self._place(run, stage, name))
                advance()
            for name in _outputs_in(before) - set(outputs):
                self._remove(self._place(run, stage, name))
            self._put(record, self._place(run, stage, RECORD))

    def store_run(self, run: Path) -> None:
        """Store what lies beside the stages of a run: manifest, report, thumbnail.

        Raises:
            SlipcastError: it cannot be stored.
        """
        with self._explained(f"storing {run.name}"):
            for name in _OF_A_RUN:
                if (run / name).is_file():
                    self._put(run / name, self._place(run.name, name))

    # Coming back ---------------------------------------------------------------------------------------------------

    def fetch(self, run: Path, progress: Progress) -> None:
        """Bring the finished stages of a run here that are not here; what is here stays as it is.

        A stage that is damaged there is told in a notice, and made again.

        Raises:
            SlipcastError: it cannot be read there, or written here.
        """
        with (
            explain_os_errors(run, f"fetching it from {self.address}"),
            self._explained(f"fetching {run.name}"),
        ):
            there = self._files(run.name)
            stages = [
                name.partition("/")[0]
                for name in there
                if name.count("/") == 1 and name.endswith(f"/{RECORD}")
            ]
            absent = [stage for stage in sorted(stages) if not (run / stage / RECORD).is_file()]
            if not (run / MANIFEST).exists() and MANIFEST in there:
                run.mkdir(parents=True, exist_ok=True)
                write_bytes(run / MANIFEST, self._fs.cat_file(self._place(run.name, MANIFEST)))
            advance = progress.task("fetching stages", len(absent)) if absent else lambda: None
            for stage in absent:
                if not self._fetch_stage(run, stage, there):
                    progress.notice(f"{self.address}/{run.name}/{stage} is not whole; it is made again")
                advance()

    def _fetch_stage(self, run: Path, stage: str, there: Collection[str]) -> bool:
        coming = run / f".{stage}{_COMING}"
        shutil.rmtree(coming, ignore_errors=True)  # of a process that was killed
        for name in there:
            inside = PurePosixPath(name)
            if inside.parts[0] == stage and ".." not in inside.parts:
                target = coming.joinpath(*inside.parts[1:])
                target.parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(self._place(run.name, name), str(target))
        try:
            whole = not changed_outputs(coming, read_record(coming))
        except BadInput:
            whole = False
        if whole and not (run / stage).exists():
            coming.rename(run / stage)
        shutil.rmtree(coming, ignore_errors=True)
        return whole

    def _files(self, run: str) -> list[str]:
        """Paths below a run, relative to it."""
        prefix = self._place(run) + "/"
        try:
            found = self._fs.find(self._place(run))
        except FileNotFoundError:
            return []
        return [one[at + len(prefix) :] for one in map(str, found) if (at := one.find(prefix)) >= 0]


def _outputs_in(record: bytes | None) -> set[str]:
    """The files that an older record names; none if it cannot be read."""
    try:
        return set(json.loads(record or b"{}").get("outputs", {}))
    except (ValueError, AttributeError, TypeError):
        return set()


class Storing:
    """A run's ``Reporter`` that stores each stage when it is finished, and passes all that it hears on."""

    def __init__(self, reporter: Any, remote: Remote, run: Path) -> None:
        self._reporter, self._remote, self._run = reporter, remote, run
        self.task, self.notice, self.stage_started = reporter.task, reporter.notice, reporter.stage_started

    def stage_ended(self, name: str, outcome: str) -> None:
        """Store the stage."""
        from ..stages.table import all_stages

        self._reporter.stage_ended(name, outcome)
        folder = next(stage.folder for stage in all_stages() if stage.name == name)
        self._remote.store_stage(self._run / folder, self._reporter)
