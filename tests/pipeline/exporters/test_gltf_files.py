"""glTF in several files: the same document as a GLB, every file found by its percent-encoded name."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pygltflib
import pytest
import trimesh
from fakes.khronos import validate, validator
from fakes.pot import made

from slipcast.configs.schema import ExportConfig
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.exporters.glb import read_json
from slipcast.pipeline.exporters.table import WRITERS, paths_of
from slipcast.pipeline.exporters.writing import write_formats

STEM = "blå vase #1, 50% & more"


@pytest.fixture(scope="module")
def asset() -> Asset:
    return made()


@pytest.fixture(scope="module")
def folder(asset: Asset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One asset as GLB and glTF, of a name that no URI holds as it is."""
    where = tmp_path_factory.mktemp("gltf")
    write_formats(asset, where, ["glb", "gltf"], stem=STEM)
    return where


def test_every_uri_is_one_and_leads_to_a_file_beside(folder: Path) -> None:
    document = json.loads((folder / f"{STEM}.gltf").read_text())
    uris = [entry["uri"] for kind in ("buffers", "images") for entry in document[kind]]
    assert all(re.fullmatch(r"[\w.~-]+(%[0-9A-F]{2}[\w.~-]*)*", uri, re.ASCII) for uri in uris)
    named = {folder / unquote(uri) for uri in uris}
    assert named | {folder / f"{STEM}.gltf", folder / f"{STEM}.glb"} == set(folder.iterdir())
    (buffer,) = document["buffers"]
    assert buffer["byteLength"] == (folder / f"{STEM}.bin").stat().st_size


def test_the_document_is_that_of_the_glb_but_for_where_things_lie(folder: Path) -> None:
    one, several = read_json(folder / f"{STEM}.glb"), json.loads((folder / f"{STEM}.gltf").read_text())
    for document in (one, several):
        for kind in ("buffers", "bufferViews"):
            del document[kind]
        for entry in document["images"]:
            for where in {"uri", "bufferView"} & set(entry):
                del entry[where]
        for entry in document["accessors"]:
            del entry["bufferView"]
    assert one == several


def test_trimesh_reads_the_same_from_both(asset: Asset, tmp_path: Path) -> None:
    write_formats(
        asset, tmp_path, ["glb", "gltf"]
    )  # of a plain name: trimesh 5.2 takes URIs for names as they are
    bodies: list[Any] = [
        trimesh.load(tmp_path / f"pot.{kind}", process=False, force="mesh") for kind in ("glb", "gltf")
    ]
    for of in (
        lambda body: body.vertices,
        lambda body: body.faces,
        lambda body: body.visual.uv,
        lambda body: np.asarray(body.visual.material.normalTexture),
        lambda body: np.asarray(body.visual.material.metallicRoughnessTexture),
    ):
        np.testing.assert_array_equal(of(bodies[0]), of(bodies[1]))
    np.testing.assert_array_equal(
        np.asarray(bodies[1].visual.material.baseColorTexture.convert("RGB")), asset.mesh.texture
    )


def test_pygltflib_finds_the_faces_in_the_buffer(asset: Asset, folder: Path) -> None:
    file: Any = pygltflib.GLTF2().load(str(folder / f"{STEM}.gltf"))
    accessor = file.accessors[file.meshes[0].primitives[0].indices]
    view = file.bufferViews[accessor.bufferView]
    data = (folder / unquote(file.buffers[view.buffer].uri)).read_bytes()[view.byteOffset :]
    faces = np.frombuffer(data, np.uint16, accessor.count).reshape(-1, 3)
    np.testing.assert_array_equal(faces, asset.mesh.faces)
    assert file.asset.extras == json.loads(json.dumps(dict(asset.facts)))


@pytest.mark.parametrize("textures", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("kind", ["glb", "gltf"])
def test_khronos_validator_finds_nothing(tmp_path: Path, kind: str, textures: str) -> None:
    module = validator()
    write_formats(made(settings=ExportConfig(textures=textures)), tmp_path, [kind], stem=STEM)
    issues = validate(module, tmp_path / f"{STEM}.{kind}")
    assert issues["numErrors"] == 0 and issues["numWarnings"] == 0, issues["messages"]
    if kind == "gltf":  # the check itself must be able to fail
        (tmp_path / f"{STEM}.bin").write_bytes(b"short")
        assert validate(module, tmp_path / f"{STEM}.gltf")["numErrors"] > 0


def test_no_format_writes_over_what_another_wrote(tmp_path: Path) -> None:
    for one, other in combinations(WRITERS, 2):
        names = [{path.name.lower() for path in paths_of(kind, tmp_path, "a")} for kind in (one, other)]
        assert not names[0] & names[1], (one, other)
