"""The real starter from a prompt to a GLB, at the smallest settings: every stage as shipped."""

import json

import numpy as np
import pytest
from PIL import Image

from slipcast.configs.loading import load_config
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.make import make
from slipcast.systems.mesh.report import report
from slipcast.systems.types import Mesh

PROMPT = "a blue and white porcelain vase"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return make(PROMPT, load_config("smoke"), out=out, seed=1)


@pytest.mark.slow
def test_all_six_stages_leave_their_files(finished):
    assert finished.made == ("image", "lift", "refine", "mesh", "paint", "export")
    for name in ("10-image/image.png", "20-lift/field.safetensors", "30-refine/field.safetensors",
                 "40-mesh/texture.png", "45-paint/texture.png", "50-export/preview.png",
                 "50-export/turntable.gif"):  # fmt: skip
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


def test_the_paint_stage_changes_the_base_colour_and_nothing_else(finished):
    told = json.loads((finished.run / "manifest.json").read_text())["stages"]["paint"]["facts"]
    assert told["painted"] and told["seen"] > 0.2 and told["changed"] > 0.5
    meshed, painted = (
        Mesh.load(finished.run / name / "mesh.safetensors") for name in ("40-mesh", "45-paint")
    )
    shown, _ = read_glb(finished.glb)
    for name in ("vertices", "faces", "uv", "normal_map", "orm"):
        np.testing.assert_array_equal(getattr(meshed, name), getattr(painted, name))
    assert (meshed.texture != painted.texture).any()
    np.testing.assert_array_equal(shown.texture, painted.texture)


def test_no_steps_leave_the_paint_of_the_mesh(finished):
    config = load_config("smoke", ["paint.steps=0"])
    bare = make(PROMPT, config, out=finished.run.parent, seed=1)
    assert bare.made == ("paint", "export") and not bare.records["paint"].facts["painted"]
    names = ("40-mesh/mesh.safetensors", "45-paint/mesh.safetensors")
    one, other = ((finished.run / name).read_bytes() for name in names)
    assert one == other


def test_changed_settings_run_from_their_stage_on_and_do_what_they_say(finished):
    """Without maps, and painted from views: much the same paint as taken from the field itself."""
    texture = finished.run / "40-mesh/texture.png"
    before = np.array(Image.open(texture)).astype(int)
    changed = ["mesh.normal_map=false", "mesh.ambient_occlusion=false", "mesh.paint_views=6"]
    again = make(PROMPT, load_config("smoke", changed), out=finished.run.parent, seed=1)
    assert again.made == ("mesh", "paint", "export") and again.glb is not None
    mesh, _ = read_glb(again.glb)
    assert mesh.texture is not None and mesh.normal_map is None and mesh.orm is None
    assert 0 < np.abs(before - np.array(Image.open(texture)).astype(int)).mean() < 12
