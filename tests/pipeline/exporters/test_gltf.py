"""GLB files: what is written comes back, axes are glTF's, and Khronos' validator finds nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import pytest
from fakes.khronos import validate, validator

from slipcast.configs.errors import SlipcastError
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.exporters.glb import read_glb, read_json, write_glb
from slipcast.systems.types import Mesh

EXTRAS = {"prompt": 'a "blåe" teapot, 茶壺', "license": "Apache-2.0", "seed": 3}


@pytest.fixture(scope="module")
def wedge() -> Mesh:
    """A tetrahedron with its own corner per face: 1 deep (x), 2 wide (y), 3 high (z)."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
    index = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    vertices = corners[index].reshape(-1, 3)
    faces = np.arange(12, dtype=np.int32).reshape(4, 3)
    normals = np.cross(vertices[1::3] - vertices[::3], vertices[2::3] - vertices[::3])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    return Mesh(
        vertices=vertices,
        faces=faces,
        normals=np.repeat(normals, 3, axis=0).astype(np.float32),
        uv=rng.random((12, 2), np.float32),
        texture=rng.integers(0, 256, (32, 32, 3), np.uint8),
    )


def with_maps(mesh: Mesh) -> Mesh:
    """The mesh with a normal map and a packed map of other sizes than its texture, of noise."""
    rng = np.random.default_rng(1)
    return mesh.with_(
        normal_map=rng.integers(100, 156, (16, 16, 3), np.uint8),
        orm=rng.integers(0, 256, (8, 8, 3), np.uint8),
    )


def test_round_trip(wedge: Mesh, tmp_path: Path) -> None:
    write_glb(Asset(wedge, "wedge", EXTRAS), tmp_path / "a.glb")
    mesh, extras = read_glb(tmp_path / "a.glb")
    assert extras == EXTRAS
    np.testing.assert_array_equal(mesh.vertices, wedge.vertices)
    np.testing.assert_array_equal(mesh.faces, wedge.faces)
    np.testing.assert_allclose(mesh.normals, wedge.normals, atol=1e-6)
    assert mesh.uv is not None and wedge.uv is not None and mesh.texture is not None
    np.testing.assert_allclose(mesh.uv, wedge.uv, atol=1e-6)
    np.testing.assert_array_equal(mesh.texture, wedge.texture)
    assert [f.name for f in tmp_path.iterdir()] == ["a.glb"]  # no temporary file left


def test_another_reader_sees_gltf_axes_and_texture_coordinates(wedge: Mesh, tmp_path: Path) -> None:
    write_glb(Asset(wedge, "wedge", EXTRAS), tmp_path / "a.glb")
    file: Any = pygltflib.GLTF2().load(str(tmp_path / "a.glb"))
    attributes = file.meshes[0].primitives[0].attributes
    position = file.accessors[attributes.POSITION]
    # (x, y, z) -> (x, z, -y): up is +Y and 3 high, the object's back (+Y) is glTF's -Z.
    np.testing.assert_allclose(position.min, [0, 0, -2])
    np.testing.assert_allclose(position.max, [1, 3, 0])
    assert wedge.uv is not None
    uv = _floats(file, attributes.TEXCOORD_0, 2)
    np.testing.assert_allclose(uv, wedge.uv * [1, -1] + [0, 1], atol=1e-6)  # glTF counts v downwards
    normals = _floats(file, attributes.NORMAL, 3)
    np.testing.assert_allclose(normals, wedge.normals[:, [0, 2, 1]] * [1, 1, -1], atol=1e-6)


def test_material_names_and_extras(wedge: Mesh, tmp_path: Path) -> None:
    write_glb(Asset(wedge, "wedge", EXTRAS), tmp_path / "a.glb")
    document = read_json(tmp_path / "a.glb")
    surface = document["materials"][0]["pbrMetallicRoughness"]
    assert surface["metallicFactor"] == 0 and surface["roughnessFactor"] == 0.5
    assert document["images"][0]["mimeType"] == "image/png"
    assert document["asset"]["generator"] == "slipcast" and document["asset"]["extras"] == EXTRAS
    node = next(n for n in document["nodes"] if "mesh" in n)
    assert node["name"] == document["meshes"][0]["name"] == "wedge" and node["extras"] == EXTRAS


def test_without_texture_it_is_clay(wedge: Mesh, tmp_path: Path) -> None:
    write_glb(Asset(wedge.with_(uv=None, texture=None), "wedge"), tmp_path / "a.glb")
    mesh, extras = read_glb(tmp_path / "a.glb")
    assert mesh.texture is None and extras == {}
    assert len(mesh.faces) == 4
    factor = read_json(tmp_path / "a.glb")["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"]
    assert 0.3 < factor[0] < 0.9


def test_all_maps_come_back_and_are_named(wedge: Mesh, tmp_path: Path) -> None:
    mesh = with_maps(wedge)
    write_glb(Asset(mesh, "wedge", EXTRAS), tmp_path / "a.glb")
    read, _ = read_glb(tmp_path / "a.glb")
    for kind in ("texture", "normal_map", "orm"):
        np.testing.assert_array_equal(getattr(read, kind), getattr(mesh, kind))
    document = read_json(tmp_path / "a.glb")
    names = ["wedge_basecolor", "wedge_orm", "wedge_normal"]
    assert [image["name"] for image in document["images"]] == names
    assert [texture["name"] for texture in document["textures"]] == names
    (material,) = document["materials"]
    surface = material["pbrMetallicRoughness"]
    # Factors multiply the texels, so they must be 1 where a map speaks; one picture holds all three.
    assert material["name"] == "wedge" and surface["metallicFactor"] == surface["roughnessFactor"] == 1
    assert material["occlusionTexture"] == surface["metallicRoughnessTexture"] != material["normalTexture"]
    assert all(texture["sampler"] == 0 for texture in document["textures"])
    assert document["samplers"] == [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]


def test_only_a_normal_map_brings_tangents(wedge: Mesh, tmp_path: Path) -> None:
    for mesh, there in ((wedge, False), (with_maps(wedge), True)):
        write_glb(Asset(mesh, "wedge"), tmp_path / "a.glb")
        attributes = read_json(tmp_path / "a.glb")["meshes"][0]["primitives"][0]["attributes"]
        assert ("TANGENT" in attributes) == there


def test_normals_are_written_with_length_one(wedge: Mesh, tmp_path: Path) -> None:
    normals = wedge.normals * 3
    normals[0] = 0
    write_glb(Asset(wedge.with_(normals=normals), "wedge"), tmp_path / "a.glb")
    read, _ = read_glb(tmp_path / "a.glb")
    np.testing.assert_allclose(read.normals[1:], wedge.normals[1:], atol=1e-6)
    np.testing.assert_array_equal(read.normals[0], [0, 0, 1])


@pytest.mark.parametrize("maps", ["all", "colour", "none", "normal alone"])
def test_khronos_validator_finds_nothing(wedge: Mesh, tmp_path: Path, maps: str) -> None:
    module = validator()
    full = with_maps(wedge)
    mesh = {
        "all": full,
        "colour": wedge,
        "none": wedge.with_(uv=None, texture=None),
        "normal alone": full.with_(texture=None, orm=None),
    }[maps]
    write_glb(Asset(mesh, "wedge", EXTRAS), tmp_path / "a.glb")
    issues = validate(module, tmp_path / "a.glb")
    assert issues["numErrors"] == 0 and issues["numWarnings"] == 0, issues["messages"]
    # The check itself must be able to fail.
    (tmp_path / "b.glb").write_bytes((tmp_path / "a.glb").read_bytes().replace(b'"POSITION"', b'"SITUATED"'))
    assert validate(module, tmp_path / "b.glb")["numErrors"] > 0


@pytest.mark.parametrize("content", [b"", b"not a model" * 9, "half"])
def test_what_is_no_glb_is_said_in_a_sentence(wedge: Mesh, tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "a.glb"
    write_glb(Asset(wedge, "wedge"), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(SlipcastError, match="not a readable GLB"):
        read_glb(path)
    with pytest.raises(SlipcastError, match="not a readable GLB"):
        read_glb(tmp_path / "missing.glb")


def test_an_unwritable_place_is_said_in_a_sentence(wedge: Mesh, tmp_path: Path) -> None:
    with pytest.raises(SlipcastError, match="writing the GLB failed"):
        write_glb(Asset(wedge, "wedge"), tmp_path / "no folder" / "a.glb")


def _floats(file: Any, accessor: int, columns: int) -> np.ndarray:
    view = file.bufferViews[file.accessors[accessor].bufferView]
    start = (view.byteOffset or 0) + (file.accessors[accessor].byteOffset or 0)
    data = file.binary_blob()[start : start + file.accessors[accessor].count * columns * 4]
    return np.frombuffer(data, np.float32).reshape(-1, columns)


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: document["accessors"][0].update(count=10**9),
        lambda document: document["meshes"][0]["primitives"][0]["attributes"].update(POSITION="0"),
        lambda document: document.update(asset=[]),
        lambda document: document["asset"].update(extras=[1]),
        lambda document: document.update(meshes={}),
        lambda document: document.update(nodes=3),
        lambda document: document["accessors"][3].update(bufferView=0),  # faces out of positions
    ],
)
def test_a_document_that_makes_no_sense_is_a_sentence(
    wedge: Mesh, tmp_path: Path, damage: Callable[[dict[str, Any]], None]
) -> None:
    path = tmp_path / "a.glb"
    write_glb(Asset(wedge, "wedge", EXTRAS), path)
    data = path.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    damage(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    sizes = [(20 + len(text) + len(data) - 20 - length), len(text)]
    total, chunk = (size.to_bytes(4, "little") for size in sizes)
    path.write_bytes(data[:8] + total + chunk + data[16:20] + text + data[20 + length :])
    with pytest.raises(SlipcastError, match="is not a readable GLB file") as caught:
        read_glb(path)
    assert str(caught.value).isprintable()
