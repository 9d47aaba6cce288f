"""Levels of detail: closed, painted from the full mesh, where the full mesh stands, never over files that are there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.stage_records import finish
from typer.testing import CliRunner, Result

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.loading import load_config
from slipcast.configs.schema import ExportConfig, MakeConfig
from slipcast.pipeline.assets.asset import Asset, Writer
from slipcast.pipeline.assets.placing import place, placement
from slipcast.pipeline.assets.preparing import prepare
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.exporters.levels import level_meshes
from slipcast.pipeline.exporters.table import Format
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages import export as export_stage
from slipcast.systems.mesh.report import report
from slipcast.systems.types import Mesh, SubjectImage

FRACTIONS = [0.5, 0.2]


@pytest.fixture
def run(ball: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(ball, Path("runs") / ball.name))


@pytest.fixture(scope="module")
def full(ball: Path) -> Mesh:
    return Mesh.load(ball / "40-mesh" / "mesh.safetensors")


@pytest.fixture(scope="module")
def levels(full: Mesh) -> list[Mesh]:
    return level_meshes(full, FRACTIONS)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_a_level_is_closed_and_about_as_small_as_wanted(full: Mesh, levels: list[Mesh]) -> None:
    for fraction, level in zip(FRACTIONS, levels, strict=True):
        told = report(level)
        assert told.watertight and told.outward and told.components == 1
        assert told.faces == pytest.approx(fraction * len(full.faces), rel=0.1)
        assert told.volume == pytest.approx(report(full).volume, rel=0.03)


def test_creases_of_the_full_mesh_are_creases_of_its_levels(full: Mesh) -> None:
    """Where the stick meets the ball, vertices are doubled with normals of both sides."""
    (sharp,) = level_meshes(full, [0.5], crease_deg=30)
    (smooth,) = level_meshes(full, [0.5])
    assert _normals_per_place(sharp).max() > 1 and _normals_per_place(smooth).max() == 1


def _normals_per_place(mesh: Mesh) -> np.ndarray:
    """How many different normals the copies of each vertex have."""
    both = np.unique(np.concatenate([mesh.vertices, mesh.normals], 1), axis=0)
    return np.unique(both[:, :3], axis=0, return_counts=True)[1]


def test_a_level_has_an_atlas_of_its_own_painted_with_the_mesh_s_colours(levels: list[Mesh]) -> None:
    """The full mesh's colour at p is (p + 1) / 2, so a texture tells where its texel lies."""
    for level in levels:
        assert level.uv is not None and level.texture is not None
        assert level.uv.min() >= 0 and level.uv.max() <= 1 and level.normal_map is None and level.orm is None
        middle = level.vertices[level.faces].mean(1)
        u, v = level.uv[level.faces].mean(1).T
        edge = len(level.texture)
        shown = level.texture[((1 - v) * edge).astype(int), (u * edge).astype(int)] / 255
        assert np.abs(shown - (middle + 1) / 2).mean() < 0.02
    assert [level.texture.shape[0] for level in levels if level.texture is not None] == [128, 64]


def test_a_level_stands_where_the_full_mesh_stands(full: Mesh) -> None:
    """Cut off at one side, it would be moved and stretched if its own bounds counted."""
    settings = ExportConfig(height_m=0.3)
    cut = full.with_(vertices=full.vertices.clip(max=0.2))
    asset = prepare(cut, settings, name="x", prompt="x", seed=0, models={}, like=full)
    np.testing.assert_array_equal(asset.mesh.vertices, placement(full, 0.3).of(cut).vertices)
    kept = (full.vertices < 0.2).all(1)
    np.testing.assert_array_equal(asset.mesh.vertices[kept], place(full, 0.3).vertices[kept])


@pytest.mark.slow
def test_the_command_writes_every_level_in_every_format(run: Path) -> None:
    result = call(run, "--lods", "--format", "glb,obj", "--json", "--name", "ball")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    exports = run / "exports"
    assert told["files"] == {kind: f"{exports}/ball.{kind}" for kind in ("glb", "obj")}
    assert [(level["fraction"], level["files"]["obj"], level["failed"]) for level in told["lods"]] == [
        (0.5, f"{exports}/ball_lod1.obj", {}),
        (0.25, f"{exports}/ball_lod2.obj", {}),
        (0.1, f"{exports}/ball_lod3.obj", {}),
    ]
    whole, facts = read_glb(exports / "ball.glb")
    assert "level_of_detail" not in facts
    for number, level in enumerate(told["lods"], start=1):
        mesh, facts = read_glb(Path(level["files"]["glb"]))
        assert len(mesh.faces) == level["faces"] < 0.6 * len(whole.faces)
        assert facts["level_of_detail"] == number and facts["prompt"] == "a ball"
        # The run's own height, 0.25 m, is that of the full mesh.
        assert np.abs(_bounds(mesh) - _bounds(whole)).max() < 0.01
    text = call(run, "--lods", "--format", "glb", "--name", "again").stdout.split()
    assert [Path(line).name for line in text] == ["again.glb", *(f"again_lod{k}.glb" for k in (1, 2, 3))]


def test_the_runs_own_levels_hold_and_come_only_when_asked_for(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["config"]["export"]["lods"] = [0.3]
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert json.loads(call(run, "--json").stdout)["lods"] == []
    (level,) = json.loads(call(run, "--json", "--lods", "--force").stdout)["lods"]
    assert level["fraction"] == 0.3 and Path(level["files"]["glb"]).is_file()


def test_levels_need_no_field_and_show_the_mesh_as_it_is_painted_now(run: Path, full: Mesh) -> None:
    (run / "30-refine" / "field.safetensors").unlink()
    red = np.zeros_like(full.texture)
    red[..., 0] = 255
    full.with_(texture=red).save(run / "40-mesh" / "mesh.safetensors")
    finish(run / "40-mesh")
    assert call(run, "--lods", "--name", "red").exit_code == 0
    for number in (1, 2, 3):
        level, _ = read_glb(run / "exports" / f"red_lod{number}.glb")
        assert level.texture is not None and (level.texture == [255, 0, 0]).all()


def test_a_mesh_without_a_texture_has_levels_without_one(full: Mesh) -> None:
    (level,) = level_meshes(full.with_(uv=None, texture=None), [0.5])
    assert level.texture is None and report(level).watertight


def test_a_level_that_is_there_is_kept_without_force(run: Path) -> None:
    exports = run / "exports"
    exports.mkdir()
    (exports / "a-ball_lod2.glb").write_text("somebody's own")
    result = call(run, "--lods")
    assert result.exit_code == 2 and "a-ball_lod2.glb exists already; --force" in result.stderr
    assert [path.name for path in exports.iterdir()] == ["a-ball_lod2.glb"]  # nothing was half done
    assert call(run).exit_code == 0
    assert call(run, "--lods", "--force").exit_code == 0
    assert read_glb(exports / "a-ball_lod2.glb")[1]["level_of_detail"] == 2


def test_a_level_that_would_break_keeps_more_faces_and_says_so(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def unchanged(mesh: Mesh, fractions: list[float], *, crease_deg: float) -> list[Mesh]:
        asked.append(crease_deg)
        return [mesh for _ in fractions]

    monkeypatch.setattr("slipcast.pipeline.exporters.levels.levels_of_detail", unchanged)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["config"]["mesh"] = {"crease_deg": 40.0}
    (run / "manifest.json").write_text(json.dumps(manifest))
    result = call(run, "--lods", "--name", "b")
    assert "note: b_lod3 has " in result.stderr and "with fewer its surface would break" in result.stderr
    assert asked == [40.0]  # as the run's mesh was made


def test_a_format_that_fails_for_one_level_is_told_and_the_others_are_written(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Format.load

    def load_one_that_fails(self: Format) -> Writer:
        def write(asset: Asset, path: Path) -> None:
            if path.name == "b_lod2.ply":
                raise SlipcastError("the disk is full")
            load(self)(asset, path)

        return write

    monkeypatch.setattr(Format, "load", load_one_that_fails)
    result = call(run, "--lods", "--name", "b", "--format", "ply,glb", "--json")
    told = json.loads(result.stdout)["lods"]
    assert result.exit_code == 1 and "note: b_lod2.ply was not written: the disk is full" in result.stderr
    assert [sorted(level["files"]) for level in told] == [["glb", "ply"], ["glb"], ["glb", "ply"]]
    assert told[1]["failed"] == {"ply": "the disk is full"}


def test_the_stage_writes_levels_and_tells_their_files(run: Path, tmp_path: Path) -> None:
    picture, folder = tmp_path / "10-image", tmp_path / "50-export.partial"
    picture.mkdir()
    folder.mkdir()
    ones = np.ones((16, 16), np.float32)
    SubjectImage(np.stack([ones * 0.5] * 3, -1), ones).save(picture / "image.png")
    settings = ExportConfig(formats=["glb", "ply"], lods=FRACTIONS, turntable_frames=0)
    inputs = {
        "image/image.png": picture / "image.png",
        "paint/mesh.safetensors": run / "40-mesh" / "mesh.safetensors",
    }
    ctx = StageContext("a ball", MakeConfig(export=settings), folder, inputs, 3, "export", Quiet(), _Models())
    facts = export_stage.run(ctx)
    assert [line["files"] for line in facts["lods"]] == [
        {"glb": f"a-ball_lod{k}.glb", "ply": f"a-ball_lod{k}.ply"} for k in (1, 2)
    ]
    assert all((folder / name).is_file() for line in facts["lods"] for name in line["files"].values())
    json.dumps(facts, allow_nan=False)


class _Models:
    def identities(self, roles: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        return {}


def test_settings_are_fractions_that_fall() -> None:
    assert load_config("starter", []).export.lods == []
    assert load_config("starter", ["export.lods=[0.5, 0.1]"]).export.lods == [0.5, 0.1]
    for wrong, said in (
        ("[0.1, 0.5]", "export.lods expects fractions that fall"),
        ("[0.5, 0.5]", "export.lods expects fractions that fall"),
        ("[1.0, 0.5]", r"export\.lods expects at most 0\.99, not 1\.0"),
        ("[0.5, 0]", r"export\.lods expects at least 0\.001, not 0\.0"),
        ("[0.5, nan]", "export.lods .* expects a list of numbers such as"),
        ("[half]", "export.lods .* expects a list of numbers such as"),
        ("half", "export.lods .* expects a list of numbers such as"),
    ):
        with pytest.raises(BadInput, match=said):
            load_config("starter", [f"export.lods={wrong}"])


def _bounds(mesh: Mesh) -> np.ndarray:
    return np.array([mesh.vertices.min(0), mesh.vertices.max(0)])
