"""Files for Blender, read back by Blender itself. Needs one: SLIPCAST_BLENDER=PATH, or a bpy to import."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.blender_programs import fake
from fakes.blender_subjects import FACTS, cube
from PIL import Image
from typer.testing import CliRunner

from slipcast.configs.errors import SlipcastError
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.blender.catalogues import FILE, catalogue_id
from slipcast.pipeline.blender.looking import look_at_glb
from slipcast.pipeline.blender.process import Blender, run_script
from slipcast.pipeline.blender.writer import inspect_blend, write_blend
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.exporters.glb import write_glb
from slipcast.pipeline.exporters.preview import render_mesh
from slipcast.pipeline.library_index import FILE as INDEX
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.mesh.rasterizer import EMPTY, rasterize
from slipcast.systems.mesh.report import silhouette_iou
from slipcast.systems.types import Mesh

pytestmark = pytest.mark.blender


def test_the_object_is_what_was_handed_over(box: tuple[Path, dict[str, Any], Path]) -> None:
    _, facts, _ = box
    (item,) = facts["objects"]
    assert item["name"] == item["mesh"] == "box" and item["faces"] == 24
    # The front axis: the knob is at -Y, and nothing is turned, moved or scaled to get there.
    assert np.allclose(item["bounds"], [[-0.5, -1.5, 0], [0.5, 1, 3]])
    assert item["location"] == item["rotation"] == [0, 0, 0] and item["scale"] == [1, 1, 1]
    assert (
        item["vertices"] == 16 and item["watertight"]
    )  # 8 a box: the doubles along the atlas's seams are joined
    assert item["uv_maps"] == ["UVMap"] and item["custom_normals"]
    assert facts["unit_scale"] == 1 and facts["scenes"] == 1


def test_the_material_uses_every_map_in_its_colour_space(box: tuple[Path, dict[str, Any], Path]) -> None:
    _, facts, _ = box
    assert {name: (item["packed"], item["colorspace"]) for name, item in facts["images"].items()} == {
        "box_basecolor": (True, "sRGB"),
        "box_normal": (True, "Non-Color"),
        "box_orm": (True, "Non-Color"),
    }
    assert facts["missing_files"] == [] and facts["libraries"] == []
    assert all(item["filepath"] == f"//textures/{name}.png" for name, item in facts["images"].items())
    assert facts["objects"][0]["materials"] == {
        "box": [
            "Normal Map.Normal > Principled BSDF.Normal",
            "Principled BSDF.BSDF > Material Output.Surface",
            "Separate Color.Blue > Principled BSDF.Metallic",
            "Separate Color.Green > Principled BSDF.Roughness",
            "Separate Color.Red > glTF Material Output.Occlusion",
            "basecolor.Color > Principled BSDF.Base Color",
            "normal.Color > Normal Map.Color",
            "orm.Color > Separate Color.Color",
        ]
    }


def test_the_asset_browser_knows_it(box: tuple[Path, dict[str, Any], Path]) -> None:
    _, facts, _ = box
    assert facts["objects"][0]["asset"] == {
        "author": "A. Potter",
        "description": "A box with a knob.",
        "license": "CC0-1.0",
        "copyright": "2026 A. Potter",
        "catalog_id": catalogue_id("slipcast/starter"),
        "tags": ["box", "test"],
        "preview": [512, 512],
    }
    told = facts["objects"][0]["properties"]
    assert told["prompt"] == "a box" and told["seed"] == str(2**40)
    assert json.loads(told["models"]) == FACTS["models"] and "author" not in told


def outline(mesh: Mesh, size: int, azimuth_deg: float, elevation_deg: float, fov_deg: float) -> np.ndarray:
    """Where the object is on the preview: [size, size] bool, found without Blender.

    The camera is found by search, not by the script's formula: the nearest one that keeps a margin of 6 %.
    """
    a, e = math.radians(azimuth_deg), math.radians(elevation_deg)
    backward = np.array([math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)])
    right = np.array([math.cos(a), math.sin(a), 0])
    x, y, z = np.stack([right, np.cross(backward, right), backward]) @ mesh.vertices.T.astype(np.float64)
    scale = 1 / math.tan(math.radians(fov_deg) / 2)

    def seen(distance: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Image coordinates, -1 to 1, after centring by moving sideways; and the larger half extent."""
        views = []
        for values in (x, y):
            low, high = values.min(), values.max()
            for _ in range(60):  # bisection: the two edges are equally far from the middle
                middle = (low + high) / 2
                view = (values - middle) * scale / (distance - z)
                low, high = (middle, high) if view.max() + view.min() > 0 else (low, middle)
            views.append((values - low) * scale / (distance - z))
        return views[0], views[1], max(np.abs(views[0]).max(), np.abs(views[1]).max())

    near, far = float(z.max()) + 1e-3, 100.0
    for _ in range(60):
        middle = (near + far) / 2
        near, far = (near, middle) if seen(middle)[2] < 0.88 else (middle, far)
    u, v, _ = seen(far)
    pixels = np.stack([(u + 1) / 2 * size, (1 - v) / 2 * size], 1)
    return rasterize(pixels, far - z, mesh.faces, size, size)[0] != EMPTY


def test_the_preview_has_the_objects_outline_from_the_front_left(
    box: tuple[Path, dict[str, Any], Path],
) -> None:
    rgba = np.asarray(Image.open(box[2]))
    assert rgba.shape == (512, 512, 4)
    shown, truth = rgba[..., 3] > 127, outline(cube(), 512, 30, 20, 30)
    assert (shown & truth).sum() / (shown | truth).sum() > 0.985
    mirrored = outline(cube(), 512, -30, 20, 30)
    assert (shown & mirrored).sum() / (
        shown | mirrored
    ).sum() < 0.95  # so the test above would see a turned object
    assert 30 < rgba[shown][:, :3].mean() < 225 and rgba[shown][:, :3].std() > 5


def test_a_run_becomes_a_library(ball: Path, blender: Blender, tmp_path: Path) -> None:
    arguments = ["blender", "library", str(ball.parent), str(tmp_path), "--blender", str(blender.program)]
    result = CliRunner().invoke(app, [*arguments, "--author", "me", "--json"])
    assert result.exit_code == 0, result.stderr
    path = Path(json.loads(result.stdout)["made"]["a-ball-3"])
    facts = inspect_blend(path, blender=blender.program)
    mesh, (item,) = Mesh.load(ball / "40-mesh" / "mesh.safetensors"), facts["objects"]
    low, high = np.array(item["bounds"])
    ratio = np.ptp(mesh.vertices, axis=0) / np.ptp(mesh.vertices[:, 2])
    assert item["faces"] == len(mesh.faces) and item["watertight"] and item["name"] == "a-ball-3"
    assert np.allclose(high - low, 0.25 * ratio, atol=1e-6) and np.allclose((low + high)[:2], 0, atol=1e-6)
    assert low[2] == 0 and facts["missing_files"] == [] and item["asset"]["preview"] == [512, 512]
    assert [image["packed"] for image in facts["images"].values()] == [True]
    assert item["asset"]["author"] == "me" and item["asset"]["catalog_id"] in (tmp_path / FILE).read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a-ball-3.blend", FILE, INDEX]


def test_nothing_but_the_file_is_written_and_names_of_any_length_hold(
    blender: Blender, tmp_path: Path
) -> None:
    name = "ein-blauer-krug-" + "ü" * 40
    path = tmp_path / "krug.blend"
    write_blend(Asset(cube(), name), path, blender=blender.program, preview=False)
    facts = inspect_blend(path, blender=blender.program)
    (item,) = facts["objects"]
    assert item["name"].startswith("ein-blauer-krug-ü") and item["asset"]["preview"] in ([0, 0], [256, 256])
    # One name for all, cut where it must be, and never made different by a counter such as .001.
    assert set(facts["images"]) == {f"{item['name']}_{role}" for role in ("basecolor", "normal", "orm")}
    assert list(tmp_path.iterdir()) == [path]


def test_a_blender_program_does_what_a_python_with_bpy_does(blender: Blender, tmp_path: Path) -> None:
    """A stand-in that reads Blender's own arguments and, like it, leaves the script's folder out of sys.path."""
    if not blender.is_python:
        pytest.skip("all the other tests have run a Blender program already")
    body = (
        "if '--version' in sys.argv: print('Blender 4.2.0'); sys.exit()\n"
        "assert sys.argv[1:3] == ['--background', '--factory-startup']\n"
        "script = sys.argv[sys.argv.index('--python') + 1]\n"
        "code = f'import sys; sys.argv = {sys.argv!r}; del sys.path[0]; exec(compile(open({script!r}).read(), '"
        'f\'{script!r}, "exec"), dict(__name__="__main__", __file__={script!r}))\'\n'
        f"os.execv({str(blender.program)!r}, [{str(blender.program)!r}, '-c', code])"
    )
    path = tmp_path / "box.blend"
    write_blend(Asset(cube(), "box"), path, blender=fake(tmp_path / "blender", body), preview=False)
    assert inspect_blend(path, blender=blender.program)["objects"][0]["faces"] == 24


def test_faces_that_blender_would_drop_are_told(blender: Blender, tmp_path: Path) -> None:
    mesh = cube()
    doubled = mesh.with_(faces=np.concatenate([mesh.faces, mesh.faces[:1]]))
    with pytest.raises(SlipcastError, match="24 of 25 faces are there"):
        write_blend(Asset(doubled, "x"), tmp_path / "x.blend", blender=blender.program, preview=False)
    assert not list(tmp_path.iterdir())


def test_occlusion_survives_blenders_gltf_exporter(
    box: tuple[Path, dict[str, Any], Path], blender: Blender, tmp_path: Path
) -> None:
    script = tmp_path / "to_glb.py"
    script.write_text(
        "import bpy, json, os, sys\n"
        "job = json.load(open(sys.argv[-2]))\n"
        "bpy.ops.wm.open_mainfile(filepath=job['path'])\n"
        "bpy.ops.export_scene.gltf(filepath=job['glb'])\n"
        "open(sys.argv[-1], 'w').write('{}')\n"
        "os._exit(0)\n"  # bpy may crash when Python takes it down
    )
    (tmp_path / "work").mkdir()
    job = {"path": str(box[0]), "glb": str(tmp_path / "box.glb")}
    run_script(blender, str(script), job, tmp_path / "work")
    data = (tmp_path / "box.glb").read_bytes()
    material = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])["materials"][0]
    assert {"occlusionTexture", "normalTexture"} <= set(material)
    assert {"baseColorTexture", "metallicRoughnessTexture"} <= set(material["pbrMetallicRoughness"])


def test_a_glb_arrives_in_blender_where_and_as_it_was(blender: Blender, tmp_path: Path) -> None:
    """In metres, front along -Y, and Cycles shows the colours that our own rasteriser does."""
    mesh = cube()
    write_glb(Asset(mesh, "box"), tmp_path / "box.glb")
    camera = orbit_camera(math.radians(35), math.radians(20), radius=9.0)
    look = look_at_glb(tmp_path / "box.glb", blender, camera=camera, size=96, samples=16)
    (item,) = look.facts["objects"]
    np.testing.assert_allclose(look.vertices, mesh.vertices, atol=1e-6)
    assert item["faces"] == 24 and list(item["materials"]) == ["box"] and look.facts["missing_files"] == []
    assert {name: (image["packed"], image["colorspace"]) for name, image in look.facts["images"].items()} == {
        "box_basecolor": (True, "sRGB"),
        "box_normal": (True, "Non-Color"),
        "box_orm": (True, "Non-Color"),
    }
    assert look.rgba is not None and look.rgba.shape == (96, 96, 4)
    rgb, alpha = render_mesh(mesh, camera, 96, shading="none", supersample=4)
    seen = look.rgba[..., 3] / 255
    both = (alpha == 1) & (seen == 1)
    assert silhouette_iou(alpha, seen) > 0.97 and both.sum() > 500
    assert np.abs(rgb - look.rgba[..., :3] / 255)[both].mean() < 3 / 255
    other = render_mesh(mesh, orbit_camera(-math.radians(35), math.radians(20), radius=9.0), 96)[1]
    assert silhouette_iou(other, seen) < 0.95  # so the test above would see a turned object
