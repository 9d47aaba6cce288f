# pyright: reportAttributeAccessIssue=false
# pxr comes without type stubs.
"""What the files say of the surface: OBJ's material and its pictures, EXR, USD's shader; and USD's own validators."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.pot import made, pot, usd_mesh
from PIL import Image

from slipcast.configs.schema import ExportConfig
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.exporters.exr import exr
from slipcast.pipeline.exporters.writing import write_formats


@pytest.fixture(scope="module")
def asset() -> Asset:
    return made()


@pytest.fixture(scope="module")
def folder(asset: Asset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One asset with all maps, as OBJ and USDZ."""
    where = tmp_path_factory.mktemp("materials")
    write_formats(asset, where, ["obj", "usdz"])
    return where


def test_obj_brings_every_float_and_names_its_maps(asset: Asset, folder: Path) -> None:
    lines = (folder / "pot.obj").read_text().splitlines()
    written = np.array([line.split()[1:] for line in lines if line.startswith("v ")], np.float32)
    np.testing.assert_array_equal(
        written[:, [0, 2, 1]] * np.array([1, -1, 1], np.float32), asset.mesh.vertices
    )
    assert {"mtllib pot.mtl", "o pot", "usemtl pot"} <= set(lines)
    material = (folder / "pot.mtl").read_text().splitlines()
    assert material[1] == "newmtl pot"
    assert material[-5:] == [
        "map_Kd pot_basecolor.png",
        "map_Pr pot_roughness.exr",
        "map_Pm pot_metallic.exr",
        "map_Bump -bm 1 pot_normal.exr",
        "norm pot_normal.png",
    ]
    for name, pixels in (("basecolor", asset.mesh.texture), ("normal", asset.mesh.normal_map)):
        with Image.open(folder / f"pot_{name}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), pixels)
    assert asset.mesh.orm is not None and asset.mesh.normal_map is not None
    floats = {
        "roughness": asset.mesh.orm[..., 1:2],
        "metallic": asset.mesh.orm[..., 2:],
        "normal": asset.mesh.normal_map,
    }
    for name, pixels in floats.items():
        read = _read_exr((folder / f"pot_{name}.exr").read_bytes())
        np.testing.assert_allclose(read, pixels / 255, rtol=2**-11)


def test_obj_says_one_roughness_in_a_number(tmp_path: Path) -> None:
    mesh = pot().with_(orm=np.full((8, 8, 3), (200, 7, 0), np.uint8))
    write_formats(made(mesh, ExportConfig(roughness=0.2)), tmp_path, ["obj"])
    material = (tmp_path / "pot.mtl").read_text().splitlines()
    assert {"Pr 0.2", "Pm 0", "Ns 640"} <= set(material)
    assert not [line for line in material if line.startswith(("map_Pr", "map_Pm"))]


@pytest.mark.parametrize("shape", [(37, 21, 3), (16, 5), (1, 1), (64, 64, 3)])
def test_exr_holds_the_texels_as_they_are(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if shape[0] == 64:
        pixels[:] = (128, 128, 255)  # compresses, where noise does not
    data = exr(pixels)
    assert len(data) < pixels.size * 2 + 500 and (shape[0] < 64 or len(data) < pixels.size / 2)
    np.testing.assert_allclose(_read_exr(data), pixels.reshape(*shape[:2], -1) / 255, rtol=2**-11)


def _read_exr(data: bytes) -> np.ndarray:
    """By the letter of the format's description: attributes, the table of blocks, then each block, [H, W, C]."""
    assert data[:8] == struct.pack("<2i", 20000630, 2)
    at, attributes = 8, {}
    while data[at]:
        name, kind, _ = data[at:].split(b"\0", 2)
        start = at + len(name) + len(kind) + 2
        (size,) = struct.unpack_from("<i", data, start)
        attributes[name.decode()] = data[start + 4 : start + 4 + size]
        at = start + 4 + size
    x0, y0, x1, y1 = struct.unpack("<4i", attributes["dataWindow"])
    names = [
        attributes["channels"][k : k + 1].decode() for k in range(0, len(attributes["channels"]) - 1, 18)
    ]
    assert attributes["compression"] == b"\3" and names == sorted(names) and (x0, y0) == (0, 0)
    width, height = x1 + 1, y1 + 1
    out = np.zeros((height, len(names), width), np.float16)
    for (offset,) in struct.iter_unpack("<Q", data[at + 1 : at + 1 + 8 * -(-height // 16)]):
        y, size = struct.unpack_from("<2i", data, offset)
        lines = min(16, height - y)
        block = data[offset + 8 : offset + 8 + size]
        if size < lines * len(names) * width * 2:
            change = list(zlib.decompress(block))
            for k in range(1, len(change)):
                change[k] = (change[k - 1] + change[k] - 128) % 256
            half = (len(change) + 1) // 2
            block = bytes(change[(k % 2) * half + k // 2] for k in range(len(change)))
        out[y : y + lines] = np.frombuffer(block, "<f2").reshape(lines, len(names), width)
    order = [names.index(name) for name in ("RGB" if len(names) == 3 else "Y")]
    return out[:, order].transpose(0, 2, 1).astype(np.float64)


def test_usdz_is_a_model_with_all_maps(asset: Asset, folder: Path) -> None:
    from pxr import Usd, UsdGeom, UsdShade

    path = folder / "pot.usdz"
    stage: Any = Usd.Stage.Open(str(path))
    root = stage.GetDefaultPrim()
    assert root.GetName() == "pot" and Usd.ModelAPI(root).GetKind() == "component"
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 1
    assert json.loads(stage.GetRootLayer().customLayerData["slipcast"]) == asset.facts
    material, _ = UsdShade.MaterialBindingAPI(usd_mesh(path).GetPrim()).ComputeBoundMaterial()
    surface = material.ComputeSurfaceSource()[0]
    reads = {}
    for entry in ("diffuseColor", "normal", "occlusion", "roughness", "metallic"):
        source, output, _ = surface.GetInput(entry).GetConnectedSource()
        file = source.GetPrim().GetAttribute("inputs:file").Get().path
        reads[entry] = (
            Path(file).stem,
            str(output),
            source.GetPrim().GetAttribute("inputs:sourceColorSpace").Get(),
        )
    assert reads == {
        "diffuseColor": ("pot_basecolor", "rgb", "sRGB"),
        "normal": ("pot_normal", "rgb", "raw"),
        "occlusion": ("pot_orm", "r", "raw"),
        "roughness": ("pot_orm", "g", "raw"),
        "metallic": ("pot_orm", "b", "raw"),
    }


def test_usdz_packs_uncompressed_and_aligned(folder: Path) -> None:
    data = (folder / "pot.usdz").read_bytes()
    with zipfile.ZipFile(folder / "pot.usdz") as package:
        entries = package.infolist()
    assert entries[0].filename == "pot.usdc" and len(entries) == 4
    for entry in entries:
        head = data[entry.header_offset : entry.header_offset + 30]
        start = (
            entry.header_offset
            + 30
            + int.from_bytes(head[26:28], "little")
            + int.from_bytes(head[28:30], "little")
        )
        assert entry.compress_type == zipfile.ZIP_STORED and start % 64 == 0
        # No clock in the file, neither here nor in the directory: the same asset gives the same bytes.
        assert entry.date_time == (1980, 1, 1, 0, 0, 0) and head[10:14] == b"\0\0\x21\0"


@pytest.mark.parametrize("maps", ["all", "none"])
def test_usds_own_validators_find_nothing(tmp_path: Path, maps: str) -> None:
    mesh = pot() if maps == "all" else pot().with_(uv=None, texture=None, normal_map=None, orm=None)
    write_formats(made(mesh), tmp_path, ["usdz"])
    assert _usd_complaints(tmp_path / "pot.usdz") == []


def test_usds_validators_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "a.usda").write_text('#usda 1.0\ndef Mesh "a"\n{\n    point3f[] points = [(0, 0, 0)]\n}\n')
    assert _usd_complaints(tmp_path / "a.usda") != []


def test_names_that_usd_does_not_allow_are_made_to_fit(tmp_path: Path) -> None:
    asset = made()
    write_formats(Asset(asset.mesh, "3-pots", asset.facts), tmp_path, ["usdz"])
    assert _usd_complaints(tmp_path / "3-pots.usdz") == []


def _usd_complaints(path: Path) -> list[str]:
    """What usd-core's validators say: the ComplianceChecker of older versions, UsdValidation since."""
    from pxr import Usd, UsdUtils

    usd, utils = Usd, UsdUtils
    if hasattr(utils, "ComplianceChecker"):
        checker: Any = utils.ComplianceChecker(arkit=True)
        checker.CheckCompliance(str(path))
        return [*checker.GetErrors(), *checker.GetWarnings(), *checker.GetFailedChecks()]
    from pxr import UsdValidation

    validators: Any = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    context: Any = UsdValidation.ValidationContext(validators)
    stage: Any = usd.Stage.Open(str(path))
    return [error.GetMessage() for error in context.Validate(stage)]
