"""Lifts that others wrote, by their names in ``make``: what they read, their licences, and the way to get them."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import trimesh
from fakes.shap_e import save_shap_e

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.pipeline.make import MakeResult, make
from slipcast.pipeline.run.models import ModelStore
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import FrozenGrid
from slipcast.systems.images.files import read_subject

QUICK = ["image.steps=2", "image.candidates=1", "lift.resolution=24"]


def told_of(*settings: str) -> dict[str, object]:
    return ModelStore(load_config("starter", [*QUICK, *settings])).identities(["lift_model"])["lift_model"]


def is_ball_of_the_picture(made: MakeResult) -> None:
    """A ball, by the share of its box that it fills, with the outline of the picture's subject to half a cell."""
    field = FrozenGrid.load(made.folder / "field.safetensors")
    places = (field.occupancy > 0.5).nonzero()
    box = (places.amax(0) - places.amin(0) + 1).prod().item()
    assert len(places) / box == pytest.approx(math.pi / 6, rel=0.15)
    subject = read_subject(made.run / "10-image/image.png").premultiplied(64)
    _, opacity, _ = render_image(field, orbit_camera(0.0, math.radians(15)), 64)
    assert float((opacity > 0.5).sum()) == pytest.approx(float((subject[..., 3] > 0.5).sum()), rel=0.25)


def test_shap_e_lifts_the_picture_of_a_run_and_its_licence_is_told(tmp_path: Path) -> None:
    folder = save_shap_e(tmp_path / "shap-e")
    settings = ["lift_model=shap-e", f"lift.source={folder}", "lift.steps=2"]
    config = load_config("starter", [*QUICK, *settings])
    made = make("a porcelain bowl", config, out=tmp_path / "runs", until_stage="lift")
    is_ball_of_the_picture(made)  # what the fake always makes
    told = made.records["lift"].models["lift_model"]
    assert (told["id"], told["licence"]) == ("shap-e", "mit")
    again = told_of(*settings)
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    assert told_of(*settings)["revision"] != again["revision"] == told["revision"]


def test_where_shap_e_comes_from_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(BadInput, match=r"`slipcast fetch shap-e` downloads it"):
        told_of("lift_model=shap-e")


def test_a_program_lifts_the_picture_of_a_run_and_its_log_stays(tmp_path: Path) -> None:
    program = tmp_path / "cut.py"
    ball = tmp_path / "ball.ply"
    trimesh.creation.icosphere(3).export(ball)
    program.write_text(
        f"import pathlib, shutil, sys\nprint(pathlib.Path(sys.argv[1]).stat().st_size > 0)\n"
        f"shutil.copy({str(ball)!r}, sys.argv[2])\n"
    )
    command = f"lift.command={sys.executable} {program} {{picture}} {{out}}/ball.ply"
    config = load_config("starter", [*QUICK, "lift_model=command", command])
    made = make("a porcelain bowl", config, out=tmp_path / "runs", until_stage="lift")
    is_ball_of_the_picture(made)
    assert (made.folder / "command.log").read_text() == "True\n"
    assert {"command.log", "made/ball.ply", "pictures/1.png"} <= set(made.records["lift"].outputs)
