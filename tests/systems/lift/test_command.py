"""Other programs as lifts: what they write is read, framed and turned; what goes wrong is a sentence."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.schema import LiftConfig
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.lift.command import PRESETS, source_identity
from slipcast.systems.lift.mesh_file import read_surface
from slipcast.systems.lift.registration import opaque
from slipcast.systems.lift.solid import field_of_surface
from slipcast.systems.lift.surface import framed
from slipcast.systems.lift.table import LiftTask, lift_named
from slipcast.systems.types import SubjectImage

PYTHON = shlex.quote(sys.executable)


def mug() -> Any:
    """A red body, +Z up, with a blue handle at -Y, its front."""
    body: Any = trimesh.creation.cylinder(0.4, 1.0, sections=24)
    handle: Any = trimesh.creation.box(
        (0.15, 0.3, 0.5), trimesh.transformations.translation_matrix((0.1, -0.5, 0))
    )
    body.visual.face_colors, handle.visual.face_colors = (200, 30, 30, 255), (30, 30, 200, 255)
    return trimesh.util.concatenate([body, handle])


def turned_mug(folder: Path, yaw_deg: float) -> Path:
    mesh = mug()
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.radians(yaw_deg), (0, 0, 1)))
    mesh.export(folder / "mug.ply")
    return folder / "mug.ply"


def truth(folder: Path, resolution: int = 48):
    return field_of_surface(framed(read_surface(turned_mug(folder, 0.0))), resolution)


@pytest.fixture
def picture(tmp_path: Path) -> SubjectImage:
    (tmp_path / "truth").mkdir()
    thing = opaque(truth(tmp_path / "truth"))
    rgb, alpha, _ = render_image(thing, orbit_camera(0.0, np.radians(15)), 96)
    straight = (rgb / alpha[..., None].clamp_min(1e-3)).clamp(0, 1)
    return SubjectImage(straight.numpy(), alpha.numpy().astype(np.float32))


def lift(
    tmp_path: Path, picture: SubjectImage, script: str, places: str = "{picture} {mesh}", **settings: Any
) -> tuple[Any, Path]:
    """Run a Python script of its own as the program, in a clone of its own."""
    clone, folder = tmp_path / "a clone", tmp_path / "20 lift"
    clone.mkdir()
    folder.mkdir()
    (clone / "program.py").write_text(script)
    config = LiftConfig(resolution=48, command=f"{PYTHON} program.py {places}", **settings)
    return lift_named("command").function(LiftTask([picture, picture], config, clone, folder=folder)), folder


COPY = "import shutil, sys; print('made it'); shutil.copy({mesh!r}, sys.argv[2] + {ending!r})"


@pytest.mark.parametrize("yaw_deg", [0.0, 75.0, 200.0])
def test_the_mesh_of_a_program_comes_framed_and_turned_to_the_picture(
    tmp_path: Path, picture: SubjectImage, yaw_deg: float
) -> None:
    mesh = turned_mug(tmp_path, yaw_deg)
    script = COPY.format(mesh=str(mesh), ending="/any name.ply")
    grid, folder = lift(tmp_path, picture, script, "{pictures} {out}")
    wanted = truth(tmp_path / "truth")
    one, two = grid.occupancy > 0.5, wanted.occupancy > 0.5
    assert float((one & two).sum() / (one | two).sum()) > 0.9
    assert float((grid.colours - wanted.colours)[one & two].abs().mean()) < 0.03
    assert (folder / "command.log").read_text() == "made it\n"
    assert (folder / "made" / "any name.ply").is_file()
    for number in (1, 2):
        with Image.open(folder / "pictures" / f"{number}.png") as given:
            assert given.mode == "RGBA"


def test_no_shell_reads_the_command(tmp_path: Path, picture: SubjectImage) -> None:
    mesh = turned_mug(tmp_path, 0.0)
    script = f"import shutil, sys; print(sys.argv[3:]); shutil.copy({str(mesh)!r}, sys.argv[2][:-3] + 'ply')"
    _, folder = lift(tmp_path, picture, script, "{picture} {mesh} '; touch {out}/x' $HOME `id` {device}")
    assert (
        "'; touch " in (folder / "command.log").read_text()
        and "$HOME" in (folder / "command.log").read_text()
    )
    assert not (folder / "made" / "x").exists()


@pytest.mark.parametrize(
    ("script", "places", "settings", "sentence"),
    [
        ("import sys; print('no weights'); sys.exit(3)", "{picture} {mesh}", {}, "failed .exit code 3.*'no weights'"),
        ("import os; os.kill(os.getpid(), 9)", "{picture} {mesh}", {}, "was ended by SIGKILL.*'nothing'"),
        ("import time; print('busy', flush=True); time.sleep(60)", "{picture} {mesh}", {"time_limit_s": 1.0},
         "took longer than lift.time_limit_s=1 .*'busy'"),
        ("print('done')", "{picture} {out}", {}, "left no .glb, .* in .*'done'"),
        ("import sys; open(sys.argv[2], 'w').write('glTF')", "{picture} {mesh}", {}, "cannot be read as a mesh"),
        ("", "{picture}", {}, "expects {picture} or {pictures}, and {mesh} or {out}"),
        ("", "{out}", {}, "expects {picture}"),
        ("", "{picture} {mesh} {pitcher}", {}, "cannot be read .*pitcher.*its places are {picture}, "),
        ("", "{picture} {mesh} '", {}, "cannot be read .No closing quotation"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence(
    tmp_path: Path, picture: SubjectImage, script: str, places: str, settings: dict, sentence: str
) -> None:
    with pytest.raises(SlipcastError, match=sentence) as caught:
        lift(tmp_path, picture, script, places, **settings)
    assert "\n" not in str(caught.value)


def test_no_command_and_no_program_are_told(tmp_path: Path, picture: SubjectImage) -> None:
    function = lift_named("command").function
    with pytest.raises(BadInput, match=r"needs lift\.command: abstract3d-triposr, "):
        function(LiftTask([picture], LiftConfig(), tmp_path, folder=tmp_path))
    with pytest.raises(BadInput, match=r"cannot run 'nowhere/python'.*lift\.python"):
        config = LiftConfig(command="abstract3d-triposr", python="nowhere/python")
        function(LiftTask([picture], config, tmp_path, folder=tmp_path))


def test_known_programs_are_filled_in_whole(tmp_path: Path, picture: SubjectImage) -> None:
    """Every preset, run by a stand-in Python that writes down how it was called."""
    seen = tmp_path / "calls"
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {shlex.quote(str(seen))}\nexit 1\n")
    stand_in.chmod(0o755)
    for name in PRESETS:
        folder = tmp_path / name
        folder.mkdir()
        config = LiftConfig(command=name, python=str(stand_in))
        with pytest.raises(SlipcastError, match="exit code 1"):
            lift_named("command").function(LiftTask([picture], config, tmp_path, folder=folder))
        words = seen.read_text().splitlines()
        assert str(folder / "pictures" / "1.png") in words and not any("{" in word for word in words)
        runner = next((Path(word) for word in words if word.endswith(".py")), None)
        assert (runner is None) == name.startswith("abstract3d")
        if runner is not None:
            compile(runner.read_text(), str(runner), "exec")


def test_a_clone_is_known_by_its_commit(tmp_path: Path) -> None:
    assert source_identity(tmp_path) == "unversioned"
    (tmp_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / ".git" / "refs" / "heads" / "main").write_text("abc\n")
    assert source_identity(tmp_path) == "abc"
    (tmp_path / ".git" / "HEAD").write_text("def\n")
    assert source_identity(tmp_path) == "def"
