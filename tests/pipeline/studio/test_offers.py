"""Formats of a finished run: those that are there, and those that are written when somebody asks."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import trimesh
from fakes.report_runs import draw_run, manifest

pytest.importorskip("starlette", reason="the extra [ui] is not installed")

from slipcast.configs.errors import BadInput
from slipcast.pipeline.report.reading import RunTold, read_told
from slipcast.pipeline.studio.desk import Desk
from slipcast.pipeline.studio.offers import Offer, Sent, offers, sent, start_export, start_send
from slipcast.pipeline.studio.processes import note_self


@pytest.fixture
def run(desk: Desk) -> RunTold:
    return read_told(draw_run(desk.runs / "a-vase-0", manifest("a vase", 0)))


def offered(desk: Desk, run: RunTold, name: str) -> Offer:
    return next(one for one in offers(desk, run) if one.name == name)


def test_what_is_there_is_offered_and_the_rest_can_be_asked_for(desk: Desk, run: RunTold) -> None:
    found = {one.name: one for one in offers(desk, run)}
    assert set(found) == {"glb", "gltf", "obj", "ply", "stl", "usdz", "fbx", "blend"}
    assert [path.name for path in found["glb"].files] == ["a-blue-vase.glb"] and found["glb"].bytes > 1000
    assert all(not one.files and not one.working and one.error is None for one in offers(desk, run)[1:])


def test_levels_of_detail_are_not_taken_for_the_asset(desk: Desk, run: RunTold) -> None:
    for name in ("a-vase.stl", "a-vase_lod1.stl"):
        (run.path / "50-export" / name).write_text("x")
    assert [path.name for path in offered(desk, read_told(run.path), "stl").files] == ["a-vase.stl"]


def test_how_a_writing_stands_is_told_by_its_process_and_then_by_what_it_said(
    desk: Desk, run: RunTold
) -> None:
    folder = desk.folder / "exports"
    folder.mkdir(parents=True)
    said = folder / "a-vase-0.fbx.said"
    said.write_text("")
    assert offered(desk, run, "fbx").error == "the program that writes it ended before it was done"
    note_self(folder / "a-vase-0.fbx.json")
    assert (offered(desk, run, "fbx").working, offered(desk, run, "fbx").error) == (True, None)
    start_export(desk, run, "fbx")
    assert said.read_text() == "", "it is not begun twice"
    (folder / "a-vase-0.fbx.json").unlink()
    said.write_text('{"error": "no Blender was found; <b>"}\n')
    assert offered(desk, run, "fbx").error == "no Blender was found; <b>"
    said.write_text("nonsense")
    assert offered(desk, run, "fbx").error is not None


def test_only_formats_that_there_are(desk: Desk, run: RunTold) -> None:
    for name in ("exe", "../../x", "", "glb --force"):
        with pytest.raises(BadInput, match="there is no format"):
            start_export(desk, run, name)
    start_export(desk, run, "glb")  # is there
    assert not (desk.folder / "exports").exists()


@pytest.mark.slow
def test_a_format_is_written_by_a_process_of_its_own(desk: Desk, ball: Path, tmp_path: Path) -> None:
    ball = Path(shutil.copytree(ball, tmp_path / "mine" / ball.name))  # other tests look at it as it was
    run = read_told(ball)
    start_export(desk, run, "stl")
    assert offered(desk, run, "stl").working
    end = time.monotonic() + 100
    while offered(desk, run, "stl").working:
        assert time.monotonic() < end
        time.sleep(0.1)
    found = offered(desk, read_told(ball), "stl")
    assert found.error is None, (desk.folder / f"exports/{ball.name}.stl.said").read_text()
    assert trimesh.load_mesh(found.files[0]).is_watertight
    told = json.loads((desk.folder / f"exports/{ball.name}.stl.said").read_text())
    assert told["run"] == str(ball)


def test_how_sending_to_blender_stands_is_told_too(desk: Desk, run: RunTold) -> None:
    folder = desk.folder / "exports"
    folder.mkdir(parents=True)
    assert sent(desk, run) == Sent(False)
    note_self(folder / "a-vase-0.to-blender.json")
    start_send(desk, run)  # it is under way
    assert sent(desk, run) == Sent(True)
    (folder / "a-vase-0.to-blender.json").unlink()
    for told, expected in (
        ('{"file": "/home/me/slipcast/to-blender/a.glb"}', Sent(False, "/home/me/slipcast/to-blender/a.glb")),
        ('{"error": "no room"}', Sent(False, error="no room")),
        ("", Sent(False, error="the program that sends it ended before it was done")),
    ):
        (folder / "a-vase-0.to-blender.said").write_text(told)
        assert sent(desk, run) == expected


@pytest.mark.slow
def test_a_run_is_sent_to_the_folder_that_blender_watches(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fakes.blender_subjects import ball_run

    monkeypatch.setenv("HOME", str(tmp_path))
    run = read_told(ball_run(desk.runs))
    start_send(desk, run)
    until = time.monotonic() + 200
    while sent(desk, run).working:
        assert time.monotonic() < until
        time.sleep(0.1)
    path = tmp_path / "slipcast/to-blender/a-ball-3.glb"
    assert sent(desk, run) == Sent(False, str(path)) and path.is_file()
