"""The real starter from a prompt to a GLB, at the smallest settings: every stage as shipped."""

import json

import numpy as np
import pytest
from PIL import Image

from slipcast.configs.loading import load_config
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.make import make
from slipcast.systems.mesh.report import report

PROMPT = "a blue and white porcelain vase"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return make(PROMPT, load_config("smoke"), out=out, seed=1)


@pytest.mark.slow
def test_all_five_stages_leave_their_files(finished):
    assert finished.made == ("image", "lift", "refine", "mesh", "export")
    for name in ("10-image/image.png", "20-lift/field.safetensors", "30-refine/field.safetensors",
                 "40-mesh/texture.png", "50-export/preview.png", "50-export/turntable.gif"):  # fmt: skip
        assert (finished.run / name).stat().st_size > 100
    manifest = json.loads((finished.run / "manifest.json").read_text())
    assert {stage["status"] for stage in manifest["stages"].values()} == {"finished"}


def test_the_glb_is_a_closed_textured_object(finished):
    mesh, extras = read_glb(finished.glb)
    assert extras["prompt"] == PROMPT
    assert mesh.texture is not None
    assert np.isfinite(mesh.vertices).all()
    assert mesh.vertices[:, 2].min() == 0 and np.abs(mesh.vertices[:, :2]).max() <= 1.0
    assert report(mesh).watertight


def test_the_mesh_stage_bakes_all_maps_and_measures_them(finished):
    told = json.loads((finished.run / "manifest.json").read_text())["stages"]["mesh"]["facts"]
    assert told["watertight"] and told["threshold"] > 0 and told["fine_faces"] > told["faces"]
    assert told["atlas"]["used"] > 0.3 and told["atlas"]["overlap"] < 0.005 and told["atlas"]["in_range"]
    assert told["seams"]["points"] > 0 and told["seams"]["median"] < 6  # 128 texels for the whole surface
    assert told["bake_psnr_db"] is None or told["bake_psnr_db"] > 10
    mesh, _ = read_glb(finished.glb)
    for name in ("normal_map", "orm"):
        assert (finished.run / f"40-mesh/{name}.png").exists()
        assert getattr(mesh, name).shape == (128, 128, 3)


def test_the_same_command_again_makes_nothing(finished):
    again = make(PROMPT, load_config("smoke"), out=finished.run.parent, seed=1)
    assert again.made == ()
    assert again.glb == finished.glb


def test_changed_settings_run_from_their_stage_on_and_do_what_they_say(finished):
    """Without maps, and painted from views: much the same paint as taken from the field itself."""
    texture = finished.run / "40-mesh/texture.png"
    before = np.array(Image.open(texture)).astype(int)
    changed = ["mesh.normal_map=false", "mesh.ambient_occlusion=false", "mesh.paint_views=6"]
    again = make(PROMPT, load_config("smoke", changed), out=finished.run.parent, seed=1)
    assert again.made == ("mesh", "export") and again.glb is not None
    mesh, _ = read_glb(again.glb)
    assert mesh.texture is not None and mesh.normal_map is None and mesh.orm is None
    assert 0 < np.abs(before - np.array(Image.open(texture)).astype(int)).mean() < 12
