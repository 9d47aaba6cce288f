"""Blender itself: what it writes and reads back. Needs a Blender: SLIPCAST_BLENDER=PATH, or a bpy to import."""

from __future__ import annotations

import functools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes.blender_programs import fake
from fakes.solid_fields import SolidField, position_color
from PIL import Image
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.pipeline.blender.addon import write_extension
from slipcast.pipeline.blender.catalogues import FILE, catalogue_id
from slipcast.pipeline.blender.process import SCRIPTS, Blender, find_blender, run_script
from slipcast.pipeline.blender.writer import build_blend, inspect_blend, write_blend
from slipcast.pipeline.cli import app
from slipcast.pipeline.exporters.asset import Asset
from slipcast.pipeline.exporters.glb import write_glb
from slipcast.systems.rasterize import EMPTY, rasterize
from slipcast.systems.surface import extract_surface
from slipcast.systems.texture import bake, unwrap
from slipcast.systems.types import Mesh


@functools.cache
def _found() -> Blender | str:
    try:
        return find_blender()
    except BadInput as error:
        return str(error)


pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(
        "isinstance(_found(), str)", reason="no Blender here (SLIPCAST_BLENDER=PATH names one)"
    ),
]


@pytest.fixture(scope="module")
def blender() -> Blender:
    found = _found()
    assert isinstance(found, Blender)
    return found


def cube() -> Mesh:
    """A box 1 m wide, 2 m deep, 3 m high on the ground, with a knob in front of it so that no two sides look alike.

    Each side has vertices and a strip of the atlas of its own, as after an unwrap; all three maps.
    """
    corners, normals, faces, uv = [], [], [], []
    boxes = [((-0.5, -1.0, 0.0), (0.5, 1.0, 3.0)), ((-0.1, -1.5, 2.0), (0.1, -1.1, 2.5))]
    for low, high in boxes:
        for axis in range(3):
            for sign in (-1, 1):
                u, v = ((axis + 1) % 3, (axis + 2) % 3)[::sign]
                start = len(corners)
                for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)):
                    place = [0.0, 0.0, 0.0]
                    place[axis] = (low, high)[sign > 0][axis]
                    place[u], place[v] = (low, high)[a][u], (low, high)[b][v]
                    corners.append(place)
                    normals.append([sign * (i == axis) for i in range(3)])
                    uv.append([(start / 4 + a) / 12, b])
                faces += [[start, start + 1, start + 2], [start, start + 2, start + 3]]
    shades = np.arange(16, dtype=np.uint8)[None, :, None] * 8 + np.array([0, 60, 120], np.uint8)
    return Mesh(
        vertices=np.array(corners, np.float32),
        faces=np.array(faces, np.int32),
        normals=np.array(normals, np.float32),
        uv=np.array(uv, np.float32),
        texture=np.broadcast_to(shades, (16, 16, 3)).copy(),
        normal_map=np.full((16, 16, 3), (128, 128, 255), np.uint8),
        orm=np.full((16, 16, 3), (200, 90, 0), np.uint8),
    )


FACTS = {
    "prompt": "a box",
    "seed": 2**40,
    "models": {"base": {"id": "x", "licence": "MIT"}},
    "author": "A. Potter",
    "licence": "CC0-1.0",
    "copyright": "2026 A. Potter",
    "tags": ["box", "test"],
    "description": "A box with a knob.",
    "catalogue": "slipcast/starter",
}


@pytest.fixture(scope="module")
def box(blender: Blender, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Path]:
    """(the box as .blend, what Blender finds in it in another process, its preview as PNG)."""
    folder = tmp_path_factory.mktemp("box")
    path, picture = folder / "box.blend", folder / "box.png"
    build_blend(Asset(cube(), "box", FACTS), path, blender, picture=picture)
    return path, inspect_blend(path, blender=blender.program), picture


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


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a real mesh (a ball on a stick, painted by position) and its GLB, as the stages leave it."""

    def distance(points: torch.Tensor) -> torch.Tensor:
        ball = (points - points.new_tensor([0.0, 0.0, 0.25])).norm(dim=1) - 0.5
        stick = torch.maximum(points[:, :2].norm(dim=1) - 0.2, points[:, 2].abs() - 0.6)
        return torch.minimum(ball, stick)

    field = SolidField(distance, softness=0.1, color=position_color)
    mesh = bake(unwrap(extract_surface(field, resolution=48, target_faces=1500), size=128), field, size=128)
    folder = tmp_path_factory.mktemp("runs") / "a-ball-3"
    for stage in ("40-mesh", "50-export"):
        (folder / stage).mkdir(parents=True)
        (folder / stage / "stage.json").write_text("{}")
    mesh.save(folder / "40-mesh" / "mesh.safetensors")
    write_glb(Asset(mesh, "a-ball", {"prompt": "a ball"}), folder / "50-export" / "a-ball.glb")
    models = {"domain": {"id": "starter", "revision": "1", "licence": "Apache-2.0"}}
    stages = {
        "mesh": {"status": "finished"},
        "export": {
            "status": "finished",
            "folder": "50-export",
            "facts": {"glb": "a-ball.glb"},
            "models": models,
        },
    }
    config = {"export": {"height_m": 0.25}}
    told = {"format": 1, "prompt": "a ball", "seed": 3, "stages": stages, "config": config}
    (folder / "manifest.json").write_text(json.dumps(told))
    return folder


def test_a_run_becomes_a_library(run: Path, blender: Blender, tmp_path: Path) -> None:
    arguments = ["blender", "library", str(run.parent), str(tmp_path), "--blender", str(blender.program)]
    result = CliRunner().invoke(app, [*arguments, "--author", "me", "--json"])
    assert result.exit_code == 0, result.stderr
    path = Path(json.loads(result.stdout)["made"]["a-ball-3"])
    facts = inspect_blend(path, blender=blender.program)
    mesh, (item,) = Mesh.load(run / "40-mesh" / "mesh.safetensors"), facts["objects"]
    low, high = np.array(item["bounds"])
    ratio = np.ptp(mesh.vertices, axis=0) / np.ptp(mesh.vertices[:, 2])
    assert item["faces"] == len(mesh.faces) and item["watertight"] and item["name"] == "a-ball-3"
    assert np.allclose(high - low, 0.25 * ratio, atol=1e-6) and np.allclose((low + high)[:2], 0, atol=1e-6)
    assert low[2] == 0 and facts["missing_files"] == [] and item["asset"]["preview"] == [512, 512]
    assert [image["packed"] for image in facts["images"].values()] == [True]
    assert item["asset"]["author"] == "me" and item["asset"]["catalog_id"] in (tmp_path / FILE).read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a-ball-3.blend", FILE]


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


_SLIPCAST = """
from pathlib import Path
assert sys.argv[1] == 'make' and '--json' in sys.argv and sys.argv[-2] == '--'
out, seed = (sys.argv[sys.argv.index(option) + 1] for option in ('--out', '--seed'))
prompt = sys.argv[-1]
def say(line): print(line, file=sys.stderr, flush=True); time.sleep(0.15)
signal.signal(signal.SIGINT, lambda *_: (say('slipcast: stopped'), sys.exit(130)))
for line in ('image ...', 'image: 1.0 s', 'refine ...', 'refine: distilling 5/10, about 3 s left'): say(line)
if 'slow' in prompt: time.sleep(60)
if 'broken' in prompt: say('slipcast: the model is missing'); sys.exit(1)
run = Path(out, f"{prompt.replace(' ', '-')}-{seed}")
run.mkdir(parents=True)
(run / 'manifest.json').write_text(json.dumps({'prompt': prompt, 'seed': int(seed), 'stages': {}}))
print(json.dumps({'run': str(run), 'glb': None}))
"""


@pytest.fixture(scope="module")
def pressed(
    run: Path,
    box: tuple[Path, dict[str, Any], Path],
    blender: Blender,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What happened when the extension was installed in Blender and its buttons were pressed."""
    folder = tmp_path_factory.mktemp("extension")
    other = run.with_name("a-box-0")
    if not other.exists():
        (other / "50-export").mkdir(parents=True)
        (other / "50-export" / "a-box.blend").write_bytes(box[0].read_bytes())
        stages = {"export": {"status": "finished", "folder": "50-export", "facts": {}}}
        told = {"prompt": "a box", "seed": 2**40, "stages": stages}
        (other / "manifest.json").write_text(json.dumps(told))
    job = {
        "zip": str(write_extension(folder)),
        "runs": str(run.parent),
        "command": str(fake(folder / "slipcast", _SLIPCAST)),
        "blend_run": "a-box-0",
        "glb_run": "a-ball-3",
    }
    (folder / "work").mkdir()
    script = Path(__file__).parents[1] / "fakes" / "inside_blender.py"
    return run_script(blender, str(script), job, folder / "work", timeout_s=200)


def test_the_extension_lists_and_imports_at_the_cursor(pressed: dict[str, Any], run: Path) -> None:
    assert {name: line[:2] for name, line in pressed["listed"].items()} == {
        "a-box-0": ["a box", str(2**40)],
        "a-ball-3": ["a ball", "3"],
    }
    box, ball = pressed["blend_run"], pressed["glb_run"]
    assert np.allclose(box["low"], [-0.5, -1.5, 0], atol=1e-5) and np.allclose(
        box["high"], [0.5, 1, 3], atol=1e-5
    )
    assert (
        box["faces"] == 24
        and box["material"] == "box"
        and box["textures"] == ["box_basecolor", "box_normal", "box_orm"]
    )
    mesh = Mesh.load(run / "40-mesh" / "mesh.safetensors")
    assert np.allclose(ball["low"], mesh.vertices.min(0), atol=1e-5)  # upright again, front along -Y
    assert np.allclose(ball["high"], mesh.vertices.max(0), atol=1e-5) and ball["faces"] == len(mesh.faces)
    for told in (box, ball):
        assert (
            told["outcome"] == ["FINISHED"] and told["selected"] and told["in_scene"] and not told["is_asset"]
        )


def test_the_extension_makes_in_the_background(pressed: dict[str, Any]) -> None:
    made = pressed["made"]
    assert made["blocked_s"] < 0.5 < made["seconds"] and made["timer"]  # the button returned at once
    assert made["status"] == "done" and made["fraction"] == 1 and made["chosen"] == "a-quick-vase-7"
    assert sorted(made["fractions"]) == made["fractions"] and 0.4 < max(made["fractions"]) < 0.6
    assert "refine: distilling 5/10, about 3 s left" in made["lines"]
    assert pressed["failed"]["status"] == "the model is missing" and pressed["failed"]["fraction"] == 0


def test_the_extension_cancels_and_cleans_up(pressed: dict[str, Any]) -> None:
    cancelled = pressed["cancelled"]
    assert cancelled["status"].startswith("stopped") and cancelled["seconds"] < 40
    assert cancelled["exit_code"] == 130  # it was asked to stop, and could save what it had
    assert pressed["stopped_at_unregister"] and not pressed["state_left"] and pressed["left_behind"] == []


def test_blenders_own_validator_accepts_the_extension(blender: Blender, tmp_path: Path) -> None:
    path = write_extension(tmp_path)
    script = tmp_path / "validate.py"
    script.write_text(
        "import bpy, sys, json, subprocess\nfrom pathlib import Path\n"
        "job = json.load(open(sys.argv[-2]))\n"
        "(tool,) = Path(bpy.utils.system_resource('SCRIPTS')).glob('addons_core/bl_pkg/cli/blender_ext.py')\n"
        "done = subprocess.run([job['python'], str(tool), 'validate', job['zip']], capture_output=True, text=True)\n"
        "open(sys.argv[-1], 'w').write(json.dumps([done.returncode, done.stdout + done.stderr]))\n"
    )
    (tmp_path / "work").mkdir()
    job = {"zip": str(path), "python": sys.executable}
    code, said = run_script(blender, str(script), job, tmp_path / "work")
    assert code == 0, said


def test_the_scripts_are_where_the_package_looks_for_them() -> None:
    assert {"build_asset.py", "inspect_blend.py"} <= {file.name for file in SCRIPTS.iterdir()}
