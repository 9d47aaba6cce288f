"""Each format, read back by other programs' libraries: the same object, in the right axes, size and material."""

# pyright: reportAttributeAccessIssue=false
# pxr comes without type stubs.
from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from fakes.pot import MODELS, PROMPT, made, pot, usd_mesh

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.schema import ExportConfig
from slipcast.pipeline.assets.asset import DEFAULT_ROUGHNESS, Asset
from slipcast.pipeline.exporters.table import WRITERS, Format, paths_of
from slipcast.pipeline.exporters.writing import write_formats

OURS = [
    name for name in WRITERS if WRITERS[name].find_program is None
]  # Blender's own tests write the others


@pytest.fixture(scope="module")
def asset() -> Asset:
    return made()


@pytest.fixture(scope="module")
def folder(asset: Asset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One asset in all formats but Blender's."""
    where = tmp_path_factory.mktemp("formats")
    assert write_formats(asset, where, OURS).failed == {}
    return where


def _by_trimesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    loaded: Any = trimesh.load(path, process=False, force="mesh")
    return np.asarray(loaded.vertices), np.asarray(loaded.faces)


def _y_up(found: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """As Blender's importers turn it: (x, y, z) -> (x, -z, y)."""
    vertices, faces = found
    return np.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], 1), faces


def _by_pxr(path: Path) -> tuple[np.ndarray, np.ndarray]:
    mesh = usd_mesh(path)
    faces = np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    return np.array(mesh.GetPointsAttr().Get()), faces


def _millimetres(found: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return found[0] / 1000, found[1]


READ: dict[str, Callable[[Path], tuple[np.ndarray, np.ndarray]]] = {
    "glb": lambda path: _y_up(_by_trimesh(path)),
    "gltf": lambda path: _y_up(_by_trimesh(path)),
    "obj": lambda path: _y_up(_by_trimesh(path)),
    "ply": _by_trimesh,
    "stl": lambda path: _millimetres(_by_trimesh(path)),
    "usdz": lambda path: _y_up(_by_pxr(path)),
}


@pytest.mark.parametrize("name", OURS)
def test_another_reader_finds_the_same_surface_in_blenders_frame(
    asset: Asset, folder: Path, name: str
) -> None:
    vertices, faces = READ[name](folder / f"pot.{name}")
    want, found = asset.mesh.vertices[asset.mesh.faces], vertices[faces]
    assert found.shape == want.shape
    np.testing.assert_allclose(found, want, atol=1e-7)
    np.testing.assert_allclose(vertices.min(0)[2], 0, atol=1e-9)
    np.testing.assert_allclose(np.ptp(vertices[:, 2]), 0.3, rtol=1e-6)
    nose = vertices[vertices[:, 1].argmin()]
    # The nose points to the front, half-way up, and so pushes the rest of the egg to the back.
    assert abs(nose[0]) < 1e-6 and abs(nose[2] - 0.15) < 1e-6 and vertices[:, 1].mean() > 0.02
    assert _volume(found) > 0


@pytest.mark.parametrize("name", OURS)
def test_the_same_asset_gives_the_same_bytes(asset: Asset, folder: Path, name: str, tmp_path: Path) -> None:
    write_formats(asset, tmp_path, [name])
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


@pytest.mark.parametrize("maps", ["all", "colour", "none"])
@pytest.mark.parametrize("name", OURS)
def test_the_table_knows_every_file_that_is_written(name: str, maps: str, tmp_path: Path) -> None:
    mesh = pot()
    mesh = mesh if maps == "all" else mesh.with_(normal_map=None, orm=None)
    mesh = mesh.with_(uv=None, texture=None) if maps == "none" else mesh
    for textures in WRITERS[name].textures:
        write_formats(made(mesh, ExportConfig(textures=textures)), tmp_path, [name], stem="stem")
    declared, found = paths_of(name, tmp_path, "stem"), set(tmp_path.iterdir())
    assert declared[0].is_file() and found <= set(declared)
    if maps == "all":
        assert found == set(declared)


def test_settings_and_table_name_the_same_formats() -> None:
    choices = ExportConfig.__dataclass_fields__["formats"].metadata["choices"]
    assert tuple(WRITERS) == choices
    assert all(callable(WRITERS[name].load()) for name in OURS)


def test_the_table_and_the_command_import_nothing_heavy() -> None:
    code = (
        "import sys, slipcast.pipeline.cli.export, slipcast.pipeline.exporters.table\n"
        "print({'numpy', 'torch', 'trimesh', 'pxr', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_ply_has_the_textures_colour_at_each_vertex(asset: Asset, folder: Path) -> None:
    data = (folder / "pot.ply").read_bytes()
    assert b"metres, +Z up, front -Y" in data[:200]
    loaded: Any = trimesh.load(folder / "pot.ply", process=False)
    colors, uv = np.asarray(loaded.visual.vertex_colors)[:, :3].astype(int), asset.mesh.uv
    assert uv is not None
    want = np.stack(
        [uv[:, 0] * 255, uv[:, 1] * 255, np.full(len(uv), 40)], 1
    )  # the texture is a ramp in u and v
    assert np.abs(colors - want).max() <= 255 / 32
    np.testing.assert_allclose(loaded.vertex_normals, asset.mesh.normals, atol=1e-6)


def test_stl_is_closed_and_in_millimetres_on_the_bed(folder: Path) -> None:
    assert not (folder / "pot.stl").read_bytes().startswith(b"solid")
    solid: Any = trimesh.load(folder / "pot.stl")
    assert solid.is_watertight and solid.is_winding_consistent and solid.volume > 0
    np.testing.assert_allclose(solid.bounds[:, 2], [0, 300], rtol=1e-6)


def test_stl_of_an_inside_out_surface_is_turned_and_of_an_open_one_refused(tmp_path: Path) -> None:
    mesh = pot()
    write_formats(made(mesh.with_(faces=mesh.faces[:, ::-1])), tmp_path, ["stl"])
    assert trimesh.load(tmp_path / "pot.stl").volume > 0  # type: ignore[union-attr]
    with pytest.raises(SlipcastError, match="not closed"):
        write_formats(made(mesh.with_(faces=mesh.faces[1:])), tmp_path, ["stl"]).some()


def test_the_facts_tell_what_was_assumed_and_by_whom() -> None:
    bare = pot().with_(orm=None)
    assert made(bare).roughness == made(bare).facts["roughness"] == DEFAULT_ROUGHNESS
    glossy = {"domain": MODELS["domain"] | {"roughness": 0.2}}
    assert made(bare, models=glossy).roughness == 0.2
    assert "domain" in made(bare, models=glossy).facts["assumed"]["roughness"]
    insisted = made(bare, ExportConfig(roughness=0.7), models=glossy)
    assert insisted.roughness == 0.7 and "export.roughness" in insisted.facts["assumed"]["roughness"]
    facts = made(bare, models=glossy).facts
    assert facts["models"]["domain"] == MODELS["domain"]  # identity and licence, and nothing else
    assert (facts["prompt"], facts["seed"], facts["height_m"], facts["metallic"]) == (PROMPT, 3, 0.3, 0.0)
    json.dumps(facts, allow_nan=False)


def test_a_map_without_metal_leaves_that_an_assumption() -> None:
    mesh = pot()
    assert mesh.orm is not None
    baked = mesh.with_(orm=mesh.orm * np.array([1, 1, 0], np.uint8))
    assert made(baked).facts["assumed"]["metallic"] == "nothing is taken for metal"
    assert "metallic" not in made(mesh).facts["assumed"]


def test_a_roughness_map_that_varies_is_kept_unless_the_setting_insists() -> None:
    mesh = pot()
    assert mesh.orm is not None
    kept = made(mesh)
    assert kept.mesh.orm is mesh.orm and kept.facts["assumed"] == {}
    insisted = made(mesh, ExportConfig(roughness=0.2)).mesh.orm
    assert insisted is not None and (insisted[..., 1] == 51).all()
    np.testing.assert_array_equal(insisted[..., [0, 2]], mesh.orm[..., [0, 2]])
    placeholder = mesh.with_(orm=np.full((8, 8, 3), (200, 255, 0), np.uint8))
    filled = made(placeholder, models={"domain": MODELS["domain"] | {"roughness": 0.2}}).mesh.orm
    assert filled is not None and (filled == (200, 51, 0)).all()
    assert placeholder.orm is not None and (placeholder.orm[..., 1] == 255).all()


def _broken(asset: Asset, path: Path) -> None:
    raise RuntimeError("the kiln is cold\nand dark")


def test_one_format_that_fails_loses_no_other(
    asset: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WRITERS, "usdz", Format(lambda: _broken))
    monkeypatch.setitem(
        WRITERS, "blend", Format(lambda: importlib.import_module("slipcast_lacks_this").write)
    )
    steps: list[int] = []
    written = write_formats(
        asset, tmp_path, ["usdz", "glb", "blend", "ply", "glb"], advance=lambda n=1: steps.append(n)
    )
    assert list(written.files) == ["glb", "ply"] and all(path.is_file() for path in written.files.values())
    assert written.failed["usdz"] == "the writer of usdz failed (RuntimeError: the kiln is cold)"
    assert "lacks the module slipcast_lacks_this" in written.failed["blend"]
    assert len(steps) == 4
    with pytest.raises(SlipcastError, match=r"no format could be written \(usdz: .*cold\)"):
        write_formats(asset, tmp_path, ["usdz"]).some()


def test_a_format_that_is_none_is_refused_before_anything_is_written(asset: Asset, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="did you mean glb"):
        write_formats(asset, tmp_path, ["ply", "gbl"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", OURS)
def test_an_unwritable_place_is_said_in_a_sentence(asset: Asset, tmp_path: Path, name: str) -> None:
    with pytest.raises(SlipcastError, match=rf"writing the {name.upper()} failed at .*; "):
        WRITERS[name].load()(asset, tmp_path / "nowhere" / f"a.{name}")


def _volume(corners: np.ndarray) -> float:
    return float(np.einsum("fk,fk->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)
