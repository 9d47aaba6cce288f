"""Disks that fill up while an export is written: every format, at every write."""

from __future__ import annotations

import builtins
import errno
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fakes.pot import made, pot

from slipcast.configs.errors import SlipcastError
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.exporters.table import WRITERS, paths_of
from slipcast.pipeline.exporters.writing import write_formats

OURS = [name for name in WRITERS if WRITERS[name].find_program is None]


class Disk:
    """Counts what is asked of the disk below a folder; from the ``full_at``-th write on there is no room left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, full_at: int) -> None:
        self.done, self.full_at = 0, full_at
        real_open = builtins.open

        def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            stream = real_open(file, mode, *arguments, **options)
            return _Full(stream, self) if "w" in mode else stream

        monkeypatch.setattr("slipcast.configs.atomic.open", opened, raising=False)
        fsync = os.fsync
        monkeypatch.setattr(os, "fsync", lambda handle: (self.room(), fsync(handle)))
        monkeypatch.setattr(os, "mkdir", self._counted(os.mkdir))
        monkeypatch.setattr(os, "replace", self._counted(os.replace, once=True))

    def room(self, *where: object, once: bool = False) -> None:
        self.done += 1
        if self.done == self.full_at or (self.done > self.full_at and not once):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *where)

    def _counted(self, call: Any, *, once: bool = False) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            # As the system does, it names what was asked for; giving an old file its name back takes no room.
            self.room(*arguments[:1], once=once)
            return call(*arguments, **options)

        return counted


class _Full:
    """A file on such a disk."""

    def __init__(self, stream: Any, disk: Disk) -> None:
        self._stream, self._disk = stream, disk

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, data: Any) -> int:
        self._disk.room()
        return self._stream.write(data)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def asset() -> Asset:
    return made(pot(rows=4, columns=6, size=8))


@pytest.mark.parametrize("there", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("name", OURS)
def test_a_disk_that_fills_up_at_any_write_leaves_nothing_and_takes_nothing(
    asset: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, there: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path.parent))  # of USDZ's parts
    write_formats(asset, tmp_path, [name])
    whole = _files(tmp_path)
    for path in tmp_path.iterdir():
        path.write_text("somebody's own") if there else path.unlink()
    before = _files(tmp_path)
    full_at = 0
    while True:
        full_at += 1
        with monkeypatch.context() as patch:
            disk = Disk(patch, full_at)
            written = write_formats(asset, tmp_path, [name])
        if not written.failed:
            break
        assert _files(tmp_path) == before, full_at
        assert f" failed at {tmp_path.parent}" in written.failed[name]
        assert "No space left on device; make room on that disk" in written.failed[name]
        assert ".slipcast-" not in written.failed[name]
    assert full_at == disk.done + 1 and full_at > 4 * len(whole)  # each file is written, synced and moved
    assert _files(tmp_path) == whole


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on the size of files here")
@pytest.mark.parametrize("name", OURS)
def test_files_cut_short_by_the_system_are_never_kept(asset: Asset, tmp_path: Path, name: str) -> None:
    """USD's own writes do not pass through Python: here the system itself refuses every byte above a limit."""
    write_formats(asset, tmp_path, [name])
    whole = _files(tmp_path)
    largest = max(map(len, whole.values()))
    before, limits = {}, resource.getrlimit(resource.RLIMIT_FSIZE)
    for path in tmp_path.iterdir():
        path.unlink()
    for part in (0.1, 0.5, 0.9, 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(int(largest * part) - 1, 16), limits[1]))
        try:
            written = write_formats(asset, tmp_path, [name])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert list(written.failed) == [name] and _files(tmp_path) == before, part
    assert write_formats(asset, tmp_path, [name]).failed == {} and _files(tmp_path) == whole


def test_a_full_temporary_folder_is_what_usdz_blames(
    asset: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    out.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (16, 200, 1000, 2000, 3000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        try:
            sentence = write_formats(asset, out, ["usdz"]).failed["usdz"]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert str(scratch) in sentence and str(out) not in sentence, (limit, sentence)
        assert list(scratch.iterdir()) == list(out.iterdir()) == []


def test_one_full_format_takes_no_other_with_it(asset: Asset, tmp_path: Path) -> None:
    (tmp_path / "pot.mtl").mkdir()  # what no file can replace
    written = write_formats(asset, tmp_path, ["obj", "ply"])
    assert list(written.files) == ["ply"] and list(written.failed) == ["obj"]
    assert {path.name for path in tmp_path.iterdir()} == {"pot.mtl", "pot.ply"}
    (tmp_path / "pot.mtl").rmdir()
    assert write_formats(asset, tmp_path, ["obj"]).failed == {}
    pngs = {path for path in paths_of("obj", tmp_path, "pot") if path.suffix not in (".jpg", ".webp")}
    assert set(tmp_path.iterdir()) == pngs | {tmp_path / "pot.ply"}
    with pytest.raises(SlipcastError, match=r"no format could be written \(glb: "):
        write_formats(asset, tmp_path / "nowhere", ["glb"]).some()
