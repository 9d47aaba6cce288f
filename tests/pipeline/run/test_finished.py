"""What reads a finished run sees damage, and takes what was edited on purpose."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from fakes.pot import finished_run, pot
from fakes.stage_records import finish

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.pipeline.finished import read_run, verified
from slipcast.systems.types import Mesh


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return finished_run(tmp_path / "q q")


def _mesh(run: Path) -> Path:
    return run / "40-mesh" / "mesh.safetensors"


def _painted(run: Path, status: str = "finished") -> Path:
    (run / "45-paint").mkdir()
    path = run / "45-paint" / "mesh.safetensors"
    pot().with_(texture=np.full((32, 32, 3), 7, np.uint8)).save(path)
    finish(run / "45-paint")
    told = json.loads((run / "manifest.json").read_text())
    told["stages"]["paint"] = {"status": status}
    (run / "manifest.json").write_text(json.dumps(told))
    return path


def test_a_painted_mesh_is_the_runs_mesh_unless_the_mesh_is_newer(run: Path) -> None:
    painted = _painted(run)
    assert read_run(run).mesh_file == painted
    painted.with_name("stage.json").unlink()
    assert read_run(run).mesh_file == _mesh(run)


def test_a_painted_mesh_that_is_gone_is_damage_and_no_reason_to_take_the_plain_one(run: Path) -> None:
    _painted(run).unlink()
    with pytest.raises(SlipcastError, match="is not as the run made it"):
        read_run(run)


def test_paint_of_a_mesh_that_was_made_anew_since_does_not_count(run: Path) -> None:
    _painted(run, "outdated")
    assert read_run(run).mesh_file == _mesh(run)


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_whole_run_is_read(run: Path) -> None:
    finished = read_run(run)
    assert finished.mesh_file == _mesh(run) and (finished.prompt, finished.seed) == ("a blue pot", 3)


@pytest.mark.parametrize(
    "damage", ["a vertex", "the last byte", "a black texture", "cut", "foreign", "record"]
)
def test_damage_is_a_failure_with_the_commands_that_help(run: Path, damage: str) -> None:
    path = _mesh(run)
    if damage == "a vertex":
        _flip(path, len(path.read_bytes()) // 2)
    elif damage == "the last byte":
        _flip(path, -1)
    elif damage == "a black texture":
        pot().with_(texture=np.zeros((32, 32, 3), np.uint8)).save(path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "foreign":
        path.write_bytes(b"x")
    else:
        _flip(path.with_name("stage.json"), 12)
    with pytest.raises(SlipcastError) as caught:
        read_run(run)
    assert not isinstance(caught.value, BadInput) and "\n" not in str(caught.value)
    commands = [shlex.split(part) for part in str(caught.value).split("`")[1::2]]
    assert commands[0] == ["slipcast", "make", "--resume", str(run)]
    assert damage == "record" or commands[1] == [*commands[0], "--from", "paint"]


def test_a_mesh_that_is_in_the_record_as_edited_is_taken(run: Path) -> None:
    black = pot().with_(texture=np.zeros((32, 32, 3), np.uint8))
    black.save(_mesh(run))
    finish(run / "40-mesh")
    texture = Mesh.load(read_run(run).mesh_file).texture
    assert texture is not None and texture.max() == 0


def test_a_file_that_the_record_does_not_name_is_not_taken(run: Path) -> None:
    other = _mesh(run).with_name("other.safetensors")
    pot().save(other)
    with pytest.raises(SlipcastError, match="not as the run made it"):
        verified(other)


@pytest.mark.parametrize("change", [{"seed": "3"}, {"prompt": None}, {"stages": {"mesh": 1}}, {"format": 9}])
def test_a_manifest_of_other_types_is_bad_input(run: Path, change: dict[str, object]) -> None:
    told = json.loads((run / "manifest.json").read_text()) | change
    (run / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(BadInput, match=r"manifest\.json"):
        read_run(run)
