# pyright: reportAttributeAccessIssue=false
# pxr comes without type stubs.
"""Maps as PNG, JPEG and WebP: close to what was written when read back, smaller, refused where they cannot be."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fakes.pipeline_stages import Workshop
from fakes.pot import finished_run, made, pot
from PIL import Image
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.configs.schema import ExportConfig, MakeConfig
from slipcast.pipeline.assets.pictures import picture
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.exporters.glb import read_glb, read_json
from slipcast.pipeline.exporters.table import check_formats
from slipcast.pipeline.exporters.writing import write_formats
from slipcast.systems.types import Mesh


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    """The pot with maps as smooth and as rough as real ones: waves, and noise of a few steps."""
    y, x = np.mgrid[:256, :256] / 256
    waves = np.stack([np.sin(9 * x + 4 * y), np.cos(7 * y), np.sin(5 * x) * np.cos(8 * y)], -1)
    colours = 128 + 100 * waves + np.random.default_rng(0).normal(0, 2, (256, 256, 3))
    bends = 128 + 40 * waves[..., ::-1]
    # Three channels that have nothing to do with each other, with an edge in one alone.
    orm = np.stack([128 + 100 * waves[..., 0], 255 * (x > 0.5), 128 + 60 * waves[..., 2]], -1)
    maps = [np.clip(values, 0, 255).round().astype(np.uint8) for values in (colours, bends, orm)]
    return pot().with_(texture=maps[0], normal_map=maps[1], orm=maps[2])


def psnr_db(found: np.ndarray | None, want: np.ndarray | None) -> float:
    """Peak signal to noise ratio of two pictures of 8 bits."""
    assert found is not None and want is not None and found.shape == want.shape
    error = np.square(found.astype(float) - want).mean()
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def test_what_a_glb_gives_back_is_close_and_the_file_is_smaller(mesh: Mesh, tmp_path: Path) -> None:
    sizes = {}
    for textures in ("png", "jpeg", "webp"):
        path = tmp_path / f"{textures}.glb"
        write_formats(made(mesh, ExportConfig(textures=textures)), tmp_path, ["glb"], stem=textures)
        read, _ = read_glb(path)
        for name in ("texture", "orm", "normal_map"):
            error_db = psnr_db(getattr(read, name), getattr(mesh, name))
            exact = textures == "png" or name == "normal_map" or (textures, name) == ("webp", "orm")
            assert error_db == float("inf") if exact else 38 <= error_db < 60, (textures, name, error_db)
        assert mesh.texture is not None
        sizes[textures] = (len(picture(mesh.texture, "texture", textures).data), path.stat().st_size)
    assert sizes["webp"][0] < sizes["jpeg"][0] < sizes["png"][0] / 2
    assert max(sizes["webp"][1], sizes["jpeg"][1]) < sizes["png"][1] / 1.5


def test_a_document_says_what_its_pictures_are(mesh: Mesh, tmp_path: Path) -> None:
    kinds = {
        "png": ["image/png"] * 3,
        "jpeg": ["image/jpeg", "image/jpeg", "image/png"],
        "webp": ["image/webp"] * 3,
    }
    for textures, mimes in kinds.items():
        write_formats(made(mesh, ExportConfig(textures=textures)), tmp_path, ["glb"])
        document = read_json(tmp_path / "pot.glb")
        assert [image["mimeType"] for image in document["images"]] == mimes
        # EXT_texture_webp: without a picture of another kind to fall back to, a reader must know the extension.
        names = ["EXT_texture_webp"] if textures == "webp" else None
        assert document.get("extensionsUsed") == document.get("extensionsRequired") == names
        sources = [
            texture.get("source", texture.get("extensions", {}).get("EXT_texture_webp", {}).get("source"))
            for texture in document["textures"]
        ]
        assert sources == [0, 1, 2] and all(
            ("source" in texture) == (textures != "webp") for texture in document["textures"]
        )


@pytest.mark.parametrize(("textures", "ending"), [("jpeg", "jpg"), ("webp", "webp")])
def test_obj_names_the_pictures_that_are_there(
    mesh: Mesh, tmp_path: Path, textures: str, ending: str
) -> None:
    write_formats(made(mesh, ExportConfig(textures=textures)), tmp_path, ["obj"])
    named = [line.split()[-1] for line in (tmp_path / "pot.mtl").read_text().splitlines() if "." in line]
    normal = "pot_normal.png" if textures == "jpeg" else "pot_normal.webp"
    assert {f"pot_basecolor.{ending}", normal} <= set(named)
    with Image.open(tmp_path / f"pot_basecolor.{ending}") as file:
        assert psnr_db(np.asarray(file), mesh.texture) >= 38
    with Image.open(tmp_path / normal) as file:
        np.testing.assert_array_equal(np.asarray(file.convert("RGB")), mesh.normal_map)


def test_usdz_holds_jpegs_that_its_shaders_name(mesh: Mesh, tmp_path: Path) -> None:
    from pxr import Usd

    write_formats(made(mesh, ExportConfig(textures="jpeg")), tmp_path, ["usdz"])
    with zipfile.ZipFile(tmp_path / "pot.usdz") as package:
        names = package.namelist()
        (base,) = [name for name in names if name.endswith("pot_basecolor.jpg")]
        with Image.open(io.BytesIO(package.read(base))) as file:
            assert file.format == "JPEG" and psnr_db(np.asarray(file), mesh.texture) >= 38
    assert sorted(Path(name).suffix for name in names) == [".jpg", ".jpg", ".png", ".usdc"]
    stage = Usd.Stage.Open(str(tmp_path / "pot.usdz"))
    files = [
        prim.GetAttribute("inputs:file").Get()
        for prim in stage.Traverse()
        if prim.HasAttribute("inputs:file")
    ]
    assert len(files) == 3 and all(file.resolvedPath for file in files)


def test_usdz_refuses_webp_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="usdz holds textures as png or jpeg, not as webp"):
        check_formats(["glb", "usdz"], "webp")
    check_formats(["glb", "obj", "ply", "stl", "gltf"], "webp")
    run = finished_run(tmp_path)
    done = CliRunner().invoke(app, ["export", str(run), "--format", "glb,usdz", "--textures", "webp"])
    assert done.exit_code == 2 and "leave usdz out of the formats" in done.stderr
    assert not (run / "exports").exists()


def test_make_refuses_it_before_the_first_stage(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    with pytest.raises(BadInput, match=r"usdz holds textures .* not as webp"):
        workshop.make(MakeConfig(export=ExportConfig(formats=["glb", "usdz"], textures="webp")))
    assert workshop.ran == [] and list(tmp_path.iterdir()) == []


def test_the_command_and_the_setting_know_the_kinds(tmp_path: Path) -> None:
    run = finished_run(tmp_path, textures="jpeg")
    for arguments, mime in (([], "image/jpeg"), (["--textures", "webp"], "image/webp")):
        words = ["export", str(run), "--force", "--json", "--roughness", "0.7", *arguments]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.stderr
        path = Path(json.loads(done.stdout)["files"]["glb"])
        assert read_json(path)["images"][0]["mimeType"] == mime
        assert read_glb(path)[1]["roughness"] == 0.7
        assert f"1 files, {path.stat().st_size / 1e6:.2f} MB" in done.stderr
    done = CliRunner().invoke(app, ["export", str(run), "--textures", "gif"])
    assert done.exit_code == 2 and "export.textures knows png, jpeg, webp, not 'gif'" in done.stderr
    with pytest.raises(BadInput, match=r"export\.textures knows png, jpeg, webp"):
        load_config("starter", ["export.textures=jpg"])


def test_the_same_pixels_give_the_same_file(mesh: Mesh) -> None:
    for textures in ("png", "jpeg", "webp"):
        assert mesh.texture is not None
        assert picture(mesh.texture, "texture", textures) == picture(mesh.texture, "texture", textures)
