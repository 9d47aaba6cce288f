"""FBX through Blender: what is handed over, what is refused, and (with a real Blender) what the file holds."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.blender_programs import fake, says, triangle
from fakes.blender_subjects import FACTS, cube
from fakes.pot import made, pot
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.schema import ExportConfig
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.blender.fbx import build_fbx, write_fbx
from slipcast.pipeline.blender.process import Blender
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.exporters.table import check_formats

stand_in = pytest.mark.skipif(
    os.name != "posix", reason="the stand-ins for Blender are scripts with a shebang"
)
WHOLE = {
    "objects": [{"faces": 1}],
    "images": {},
    "missing_files": [],
    "world": [[0, 0, 0], [1, 0, 1]],
}


def replies(path: Path, reply: dict[str, Any]) -> Path:
    """A Blender that keeps its command line and its job beside itself, writes a file and replies."""
    return fake(
        path,
        "print('Blender 4.2.0')\nif '--version' in sys.argv: sys.exit()\n"
        "job = json.load(open(sys.argv[-2]))\n"
        "there = {role: open(file, 'rb').read(8).hex() for role, file in job['textures'].items()}\n"
        f"json.dump([sys.argv, job, there], open({str(path.with_name('told.json'))!r}, 'w'))\n"
        "open(job['output'], 'w').write('Kaydara FBX Binary')\n"
        f"json.dump({reply!r}, open(sys.argv[-1], 'w'))",
    )


@stand_in
def test_blenders_exporter_is_given_each_property_s_own_picture(tmp_path: Path) -> None:
    """FBX knows no packed map: roughness and metallic go apart, as numbers where they do not vary."""
    mesh = pot()
    assert mesh.orm is not None
    flat = np.full((8, 8, 3), (7, 51, 255), np.uint8)
    both = ["basecolor", "normal"]
    for orm, roughness, roles, numbers in (
        (mesh.orm, None, [*both, "metallic", "roughness"], mesh.orm[..., 1:].mean((0, 1)) / 255),
        (flat, 0.2, both, (0.2, 1.0)),
        (None, 0.3, both, (0.3, 0.0)),
    ):
        settings = ExportConfig(height_m=0.3, textures="jpeg", roughness=roughness)
        asset = made(mesh.with_(orm=orm), settings)
        bounds = [asset.mesh.vertices.min(0).tolist(), asset.mesh.vertices.max(0).tolist()]
        reply = WHOLE | {"objects": [{"faces": len(mesh.faces)}], "world": bounds}
        program = replies(tmp_path / "blender", reply | {"images": dict.fromkeys(roles)})
        write_fbx(asset, tmp_path / "pot.fbx", blender=program)
        words, job, heads = json.loads((tmp_path / "told.json").read_text())
        assert words[words.index("--python") + 1].endswith("export_fbx.py")
        assert Path(job["output"]).name == "pot.fbx" and set(job["textures"]) == set(roles)
        np.testing.assert_allclose((job["roughness"], job["metallic"]), numbers, rtol=1e-6)
        jpeg, png = b"\xff\xd8\xff".hex(), b"\x89PNG\r\n\x1a\n".hex()
        assert heads["basecolor"].startswith(jpeg) and {heads[role] for role in roles[1:]} == {png}
    assert (tmp_path / "pot.fbx").read_text() == "Kaydara FBX Binary"


@stand_in
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"objects": [{"faces": 0}]}, "0 of 1 faces are there"),
        ({"images": {"x": {}}}, "not every texture is packed"),
        ({"missing_files": ["x.png"]}, "not every texture is packed"),
        ({"world": [[0, 0, 0], [1, 1, 0]]}, r"it reaches from .* to \[1, 1, 0\] and not from"),
        ({"world": [[0, 0, 0], [100, 0, 100]]}, "it reaches from"),
        ({"objects": [], "world": None}, "0 of 1 faces are there"),
    ],
)
def test_a_file_that_lost_something_is_refused_and_the_old_one_stays(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    path = tmp_path / "out" / "a.fbx"
    path.parent.mkdir()
    path.write_bytes(b"old")
    program = replies(tmp_path / "blender", WHOLE | change)
    with pytest.raises(
        SlipcastError, match=f"the FBX file of 'a' was not written: read back, .*{told}"
    ) as caught:
        write_fbx(Asset(triangle(), "a"), path, blender=program)
    assert str(caught.value).isprintable()
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


@stand_in
def test_a_crash_and_a_mesh_of_nothing_are_sentences(tmp_path: Path) -> None:
    body = "print('Blender 4.2.0') if '--version' in sys.argv else sys.exit('boom')"
    with pytest.raises(SlipcastError, match="boom"):
        write_fbx(Asset(triangle(), "a"), tmp_path / "a.fbx", blender=fake(tmp_path / "crashing", body))
    nothing = triangle(faces=np.zeros((0, 3), np.int32))
    with pytest.raises(SlipcastError, match="run the mesh stage again"):
        write_fbx(Asset(nothing, "a"), tmp_path / "a.fbx", blender=says(tmp_path / "blender", "4.2.0"))
    assert not (tmp_path / "a.fbx").exists()


def test_fbx_takes_what_engines_read() -> None:
    check_formats(["fbx"], "jpeg")
    with pytest.raises(BadInput, match="fbx holds textures as png or jpeg, not as webp"):
        check_formats(["fbx"], "webp")


# With a real Blender


@pytest.fixture(scope="module")
def box(blender: Blender, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A box with a knob and all maps as FBX, and what Blender read from it."""
    path = tmp_path_factory.mktemp("fbx") / "box.fbx"
    mesh = cube().with_(orm=np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    return path, build_fbx(Asset(mesh, "box", FACTS), path, blender)


@pytest.mark.blender
def test_the_object_stands_where_it_stood(box: tuple[Path, dict[str, Any]]) -> None:
    _, facts = box
    (item,) = facts["objects"]
    assert item["name"] == "box" and item["faces"] == 24 and item["watertight"]
    # The knob is at -Y in Blender, and so at +Z in the file, whose places are the mesh's own: no turn, no scale.
    assert np.allclose(facts["world"], [[-0.5, -1.5, 0], [0.5, 1, 3]], atol=1e-5)
    assert np.allclose(item["bounds"], [[-0.5, 0, -1], [0.5, 3, 1.5]], atol=1e-6)
    assert item["scale"] == [1, 1, 1] and item["uv_maps"] == ["UVMap"] and item["custom_normals"]
    assert item["properties"]["prompt"] == "a box" and item["properties"]["seed"] == str(2**40)


@pytest.mark.blender
def test_the_material_has_its_pictures_inside(box: tuple[Path, dict[str, Any]]) -> None:
    _, facts = box
    spaces = {name: (item["packed"], item["colorspace"]) for name, item in facts["images"].items()}
    assert spaces == {
        "box_basecolor": (True, "sRGB"),
        "box_metallic": (True, "Non-Color"),
        "box_normal": (True, "Non-Color"),
        "box_roughness": (True, "Non-Color"),
    }
    links = facts["objects"][0]["materials"]["box"]
    for socket in ("Base Color", "Roughness", "Metallic", "Normal"):
        assert sum(link.endswith(f"> Principled BSDF.{socket}") for link in links) == 1, socket


@pytest.mark.blender
def test_the_header_says_axes_and_unit(box: tuple[Path, dict[str, Any]]) -> None:
    data = box[0].read_bytes()
    assert data.startswith(b"Kaydara FBX Binary  \0")
    unit = b"UnitScaleFactor" + _text(b"double") + _text(b"Number") + _text(b"") + b"D"
    (centimetres,) = struct.unpack_from("<d", data, data.index(unit) + len(unit))
    assert centimetres == 100
    for axis, index in ((b"UpAxis", 1), (b"FrontAxis", 2), (b"UpAxisSign", 1), (b"FrontAxisSign", 1)):
        entry = _text(axis) + _text(b"int") + _text(b"Integer") + _text(b"") + b"I"
        assert struct.unpack_from("<i", data, data.index(entry) + len(entry)) == (index,), axis


@pytest.mark.blender
def test_the_command_writes_one_file(ball: Path, blender: Blender, tmp_path: Path) -> None:
    words = ["export", ball, "--out", tmp_path, "--format", "fbx", "--quads", "--faces", 300]
    words += ["--blender", blender.program, "--name", "b"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["b.fbx"]


def _text(word: bytes) -> bytes:
    """A string property of binary FBX."""
    return b"S" + struct.pack("<I", len(word)) + word
