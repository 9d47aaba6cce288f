"""Cells: computed once, again when what they depend on changes or a file is damaged, and never lost by a failure."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slipcast.configs import atomic
from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.tables.cells import Cell, wanted
from slipcast.pipeline.tables.running import run
from slipcast.pipeline.tables.store import WORK, Store, finished


class Counted:
    """Two cells, the second of which needs the first, and how often each was computed."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def cells(self, **depends: Any) -> list[Cell]:
        def first(folder: Path) -> dict[str, Any]:
            self.made.append("first")
            (folder / "numbers.txt").write_text("7")
            return {"fd": 1.5}

        def second(folder: Path) -> dict[str, Any]:
            self.made.append("second")
            return {"fd": 2.5}

        return [Cell("data/a", first, depends), Cell("table1/b-0", second, {}, ("data/a",))]


@pytest.fixture
def counted() -> Counted:
    return Counted()


def store(out: Path, identity: str = "base 1") -> Store:
    return Store(out, "starter", identity, {"commit": "abc"})


def ran(out: Path, cells: list[Cell]) -> tuple[dict[str, Any], list[str]]:
    console = Quiet()
    store(out).begin()
    kept_before = finished(cells, store(out), console.notice)
    found = kept_before | run(cells, kept_before, store(out), console)
    return {cell.name: found[cell.name].figures for cell in cells}, console.notices


def test_a_finished_cell_is_never_computed_again(tmp_path, counted) -> None:
    first = ran(tmp_path, counted.cells())
    assert ran(tmp_path, counted.cells()) == first == ({"data/a": {"fd": 1.5}, "table1/b-0": {"fd": 2.5}}, [])
    assert counted.made == ["first", "second"]
    told = json.loads((tmp_path / "cells/table1/b-0.json").read_text())
    assert told["made"] == {"commit": "abc"} and told["seconds"] >= 0
    assert not (tmp_path / "cells/data/a" / WORK).exists() and not (tmp_path / "cells/table1/b-0").exists()


def test_a_changed_setting_or_version_computes_it_and_what_needs_it_again(tmp_path, counted) -> None:
    ran(tmp_path, counted.cells())
    _, notices = ran(tmp_path, counted.cells(steps=2))
    assert counted.made == ["first", "second"] * 2 and "other settings" in notices[0]
    cells = counted.cells(steps=2)
    ran(tmp_path, [cells[0], replace(cells[1], version=2)])
    assert counted.made == ["first", "second"] * 2 + ["second"]


@pytest.mark.parametrize("damage", ["half", "figures", "file", "gone", "other"])
def test_a_damaged_or_half_written_cell_is_computed_again_and_told(tmp_path, counted, damage) -> None:
    whole = ran(tmp_path, counted.cells())
    figures, own = tmp_path / "cells/data/a.json", tmp_path / "cells/data/a/numbers.txt"
    if damage == "half":
        figures.unlink()
    elif damage == "figures":
        figures.write_text(figures.read_text()[:40])
    elif damage == "file":
        own.write_text("8")
    elif damage == "gone":
        own.unlink()
    else:
        figures.write_text("[]")
    found, notices = ran(tmp_path, counted.cells())
    assert found == whole[0] and counted.made == ["first", "second", "first"]
    assert "data/a" in notices[0] and own.read_text() == "7"


def test_figures_stay_when_files_are_deleted_until_a_cell_that_is_missing_reads_them(
    tmp_path, counted
) -> None:
    """Trainings take gigabytes; their figures and those made from them do not."""
    whole = ran(tmp_path, counted.cells())
    shutil.rmtree(tmp_path / "cells/data/a")
    assert ran(tmp_path, counted.cells()) == whole and counted.made == ["first", "second"]
    (tmp_path / "cells/table1/b-0.json").unlink()
    assert ran(tmp_path, counted.cells()) == whole and counted.made == ["first", "second"] * 2
    assert (tmp_path / "cells/data/a/numbers.txt").read_text() == "7"


def test_a_cell_that_was_stopped_finds_its_work_again_and_nothing_else(tmp_path) -> None:
    def make(folder: Path) -> dict[str, Any]:
        seen = sorted(one.name for one in folder.rglob("*") if one.is_file())
        (folder / WORK / "checkpoint").write_text("")
        (folder / "half").write_text("")
        if seen == ["key.txt"]:
            raise SlipcastError("stopped")
        return {"seen": len(seen)}

    cell = Cell("train/a-0", make, {"steps": 1})
    with pytest.raises(SlipcastError, match="stopped"):
        ran(tmp_path, [cell])
    assert ran(tmp_path, [cell])[0] == {"train/a-0": {"seen": 2}}  # its key and its checkpoint
    with pytest.raises(SlipcastError, match="stopped"):  # the work of another key is none of it
        ran(tmp_path, [replace(cell, depends={"steps": 2})])


def test_another_base_than_the_recorded_one_is_refused_by_name(tmp_path, counted) -> None:
    ran(tmp_path, counted.cells())
    with pytest.raises(BadInput, match=r"'starter'.*weights.*'starter'"):
        store(tmp_path, "base 2")


def test_a_full_disk_is_one_sentence_and_keeps_what_is_finished(tmp_path, counted, monkeypatch) -> None:
    cells = counted.cells()
    ran(tmp_path, cells[:1])
    whole = atomic.write_bytes

    def full(path: Path, *pieces: bytes) -> None:
        if path.name == "b-0.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        whole(path, *pieces)

    monkeypatch.setattr(atomic, "write_bytes", full)
    with pytest.raises(
        SlipcastError, match=r"No space left.*make room on that disk, then the same command goes on"
    ):
        ran(tmp_path, cells)
    monkeypatch.undo()
    assert ran(tmp_path, cells)[0] == {"data/a": {"fd": 1.5}, "table1/b-0": {"fd": 2.5}}
    assert counted.made == ["first", "second", "second"]


def test_a_figure_that_is_no_number_is_refused_and_not_kept(tmp_path) -> None:
    cell = Cell("table1/a-0", lambda folder: {"fd": float("nan")}, {})
    with pytest.raises(SlipcastError, match="table1/a-0 came out as no number"):
        ran(tmp_path, [cell])
    assert not (tmp_path / "cells/table1/a-0.json").exists()


def test_a_table_brings_what_it_needs(counted) -> None:
    cells = [*counted.cells(), Cell("toy/c", lambda folder: {}, {})]
    assert [cell.name for cell in wanted(cells, ["table1"])] == ["data/a", "table1/b-0"]
    assert wanted(cells, []) == cells
    with pytest.raises(BadInput, match="table1"):
        wanted(cells, ["tabel1"])


def test_what_is_finished_is_told_whatever_was_asked_for(tmp_path, counted) -> None:
    cells = counted.cells()
    ran(tmp_path, cells[:1])
    assert list(finished(cells, store(tmp_path))) == ["data/a"]
    assert finished(counted.cells(steps=2), store(tmp_path)) == {}
