"""Files that slipcast did not make: no reason to run, never an output, never removed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.pipeline_stages import Workshop, files_of

from slipcast.configs.schema import ImageConfig, MakeConfig
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.record import read_record
from slipcast.pipeline.run.stage import StageContext

CHANGED = MakeConfig(image=ImageConfig(steps=3))


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return Workshop(tmp_path / "runs")


@pytest.mark.parametrize(
    "name", ["my-edit.blend", ".DS_Store", "sub/notes.md", ".stage.json.999999999.tmp", "image.txt.bak"]
)
def test_they_are_no_reason_to_run_and_stay_where_they_are(workshop: Workshop, name: str) -> None:
    run = workshop.make().run
    for folder in ("10-image", "20-lift", "50-export"):
        (run / folder / name).parent.mkdir(exist_ok=True)
        (run / folder / name).write_text("mine")
    console = Quiet()
    workshop.make(console=console)
    assert workshop.ran == [] and console.notices == []
    dead = name.endswith(".tmp")
    assert [(run / folder / name).exists() for folder in ("10-image", "20-lift", "50-export")] == [
        not dead
    ] * 3


def test_a_stage_made_anew_moves_them_aside_and_names_them(workshop: Workshop) -> None:
    run = workshop.make().run
    for i in range(2):
        (run / "10-image" / "deep").mkdir()
        (run / "10-image" / "deep" / "my edit.xcf").write_text(f"mine {i}")
        (run / "10-image" / ".DS_Store").write_text("x")
        console = Quiet()
        workshop.make(CHANGED if i == 0 else MakeConfig(), console=console)
        kept = run / ("10-image.kept" if i == 0 else "10-image.kept-2")
        assert console.notices == [
            f"files that are not as stage image made them are kept in {kept}: .DS_Store, deep/my edit.xcf"
        ]
        assert (kept / "deep" / "my edit.xcf").read_text() == f"mine {i}"
        assert sorted(path.name for path in (run / "10-image").iterdir()) == ["image.txt", "stage.json"]


def test_edited_files_survive_that_their_stage_is_made_anew(workshop: Workshop) -> None:
    """Changed behind slipcast's back, or taken over with --from: both are somebody's work."""
    run = workshop.make().run
    (run / "10-image" / "image.txt").write_text("painted over")
    workshop.make()
    assert workshop.ran[0] == "image" and (run / "10-image.kept" / "image.txt").read_text() == "painted over"
    (run / "10-image" / "image.txt").write_text("painted again")
    assert workshop.make(from_stage="lift").records["image"].edited
    workshop.make(CHANGED)
    assert (
        workshop.ran[0] == "image" and (run / "10-image.kept-2" / "image.txt").read_text() == "painted again"
    )


def test_a_link_is_moved_and_what_it_leads_to_is_left_alone(workshop: Workshop, tmp_path: Path) -> None:
    run = workshop.make().run
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat.png").write_text("a cat")
    (run / "10-image" / "pictures").symlink_to(tmp_path / "pictures")
    workshop.make(CHANGED)
    assert (tmp_path / "pictures" / "cat.png").read_text() == "a cat"
    assert (run / "10-image.kept" / "pictures" / "cat.png").read_text() == "a cat"


def test_a_stage_folder_that_is_a_link_is_replaced_and_kept(workshop: Workshop, tmp_path: Path) -> None:
    run = workshop.make().run
    (run / "10-image").rename(tmp_path / "elsewhere")
    (run / "10-image").symlink_to(tmp_path / "elsewhere")
    workshop.make()
    assert workshop.ran == []
    workshop.make(CHANGED)
    assert (tmp_path / "elsewhere" / "image.txt").is_file() and not (run / "10-image").is_symlink()


def test_edits_and_missing_pictures_are_taken_over_by_from_alone(workshop: Workshop) -> None:
    run = workshop.make().run
    (run / "10-image" / "mine.txt").write_text("no output")
    (run / "10-image" / "image.txt").write_text("painted over")
    record = workshop.make(from_stage="lift").records["image"]
    assert record.edited and set(record.outputs) == {"image.txt"}
    assert read_record(run / "10-image") == record


def test_hidden_and_temporary_files_of_a_stage_are_no_outputs(workshop: Workshop) -> None:
    def untidy(ctx: StageContext) -> None:
        for name in (".lift.txt.4711.tmp", ".DS_Store", ".hidden/x", "stage.json"):
            (ctx.folder / name).parent.mkdir(exist_ok=True)
            (ctx.folder / name).write_text("{}")
        (ctx.folder / "maps").mkdir()
        (ctx.folder / "maps" / "a.txt").write_text("an output")

    clean = Workshop(workshop.out.parent / "clean").make().records
    workshop.hooks["lift"] = untidy
    result = workshop.make()
    assert set(result.records["lift"].outputs) == {"lift.txt", "maps/a.txt"}
    assert result.records["refine"].outputs == clean["refine"].outputs
    workshop.make()
    assert workshop.ran == []


def test_opening_a_run_removes_the_temporaries_of_dead_processes_only(workshop: Workshop) -> None:
    run = workshop.make().run
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = os.getppid()
    names = [f".stage.json.{living}.tmp", ".notes.tmp", ".a.b.tmp", f"x.{dead.pid}.tmp"]
    for name in (*names, f".stage.json.{dead.pid}.tmp"):
        for folder in (run, run / "20-lift"):
            (folder / name).write_text("half")
    before = files_of(run)
    workshop.make()
    for folder in (run, run / "20-lift"):
        left = {path.name for path in folder.glob("*.tmp")} | {path.name for path in folder.glob(".*.tmp")}
        assert left == set(names)
    assert files_of(run) == before and workshop.ran == []


def _stopped(workshop: Workshop, name: str, text: str) -> Path:
    """The folder of a last stage that was stopped, and into which somebody put a file."""

    def stop(ctx: StageContext) -> None:
        (ctx.folder / "half.tmp.png").write_text("half")
        raise KeyboardInterrupt

    workshop.stages = tuple(replace(one, makes=("export.txt", "half*")) for one in workshop.stages)
    workshop.hooks["export"] = stop
    with pytest.raises(KeyboardInterrupt):
        workshop.make()
    workshop.hooks.clear()
    partial = workshop.out / "a-blue-vase-0/50-export.partial"
    (partial / name).parent.mkdir(exist_ok=True)
    (partial / name).write_text(text)
    return partial


@pytest.mark.parametrize("name", ["my-edit.blend", "sub/notes.md"])
def test_what_lies_in_a_stopped_stage_is_no_output_of_it(workshop: Workshop, name: str) -> None:
    _stopped(workshop, name, "mine")
    run = workshop.make().run
    assert (run / "50-export" / name).read_text() == "mine"
    outputs = read_record(run / "50-export").outputs
    assert name not in outputs and {"export.txt", "asset.glb"} <= set(outputs)


def test_what_lies_in_an_attempt_that_is_forgotten_is_kept_and_named(workshop: Workshop) -> None:
    _stopped(workshop, "my-edit.blend", "mine")
    console = Quiet()
    run = workshop.make(CHANGED, console=console).run
    kept = run / "50-export.kept"
    assert (kept / "my-edit.blend").read_text() == "mine" and len(list(kept.iterdir())) == 1
    said = f"files that are not of an attempt at stage export are kept in {kept}: my-edit.blend"
    assert console.notices == [said]
    assert set(read_record(run / "50-export").outputs) == {"export.txt", "asset.glb"}


def test_what_a_stage_writes_over_is_its_own(workshop: Workshop) -> None:
    _stopped(workshop, "asset.glb", "of the stopped attempt")
    run = workshop.make().run
    assert "asset.glb" in read_record(run / "50-export").outputs
