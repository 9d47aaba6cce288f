"""Lifts that others wrote, by their names in ``make``: what they read, their licences, and the way to get them."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import trimesh
from fakes.shap_e import save_shap_e
from PIL import Image, ImageDraw

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.pipeline.make import make
from slipcast.pipeline.run.models import ModelStore
from slipcast.systems.field.cameras import FRAMING_FOV_Y_RAD, FRAMING_RADIUS
from slipcast.systems.field.voxels import FrozenGrid
from slipcast.systems.images.files import read_subject

QUICK = ["image.steps=2", "image.candidates=1", "lift.resolution=24"]


def ball_picture(folder: Path) -> str:
    """The setting of a picture that shows a ball."""
    picture = Image.new("RGBA", (256, 256))
    ImageDraw.Draw(picture).circle((127.5, 127.5), 92, fill=(90, 120, 200, 255))
    picture.save(folder / "ball.png")
    return f"image.picture=[{folder / 'ball.png'}]"


def ball_in(run: Path) -> float:
    """The share of the box that the ball fills which the picture of a run shows."""
    alpha = read_subject(run / "10-image/image.png").alpha
    outline = math.sqrt((alpha > 0.5).sum() / math.pi) / (len(alpha) / 2) * math.tan(FRAMING_FOV_Y_RAD / 2)
    radius = FRAMING_RADIUS * math.sin(math.atan(outline))
    return 4 / 3 * math.pi * radius**3 / 8


def told_of(*settings: str) -> dict[str, object]:
    return ModelStore(load_config("starter", [*QUICK, *settings])).identities(["lift_model"])["lift_model"]


def test_shap_e_lifts_the_picture_of_a_run_and_its_licence_is_told(tmp_path: Path) -> None:
    folder = save_shap_e(tmp_path / "shap-e")
    settings = ["lift_model=shap-e", f"lift.source={folder}", "lift.steps=2"]
    config = load_config("starter", [*QUICK, *settings, ball_picture(tmp_path)])
    made = make("a porcelain bowl", config, out=tmp_path / "runs", until_stage="lift")
    occupancy = FrozenGrid.load(made.folder / "field.safetensors").occupancy
    # What the fake always makes.
    assert float((occupancy > 0.5).float().mean()) == pytest.approx(ball_in(made.run), rel=0.1)
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
    config = load_config("starter", [*QUICK, "lift_model=command", command, ball_picture(tmp_path)])
    made = make("a porcelain bowl", config, out=tmp_path / "runs", until_stage="lift")
    occupancy = FrozenGrid.load(made.folder / "field.safetensors").occupancy
    assert float((occupancy > 0.5).float().mean()) == pytest.approx(ball_in(made.run), rel=0.05)
    assert (made.folder / "command.log").read_text() == "True\n"
    assert {"command.log", "made/ball.ply", "pictures/1.png"} <= set(made.records["lift"].outputs)
