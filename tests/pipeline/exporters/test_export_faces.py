"""``--faces``: the mesh itself with fewer faces, closed, painted as it was, of the height that was asked for."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes.pot import finished_run, pot
from typer.testing import CliRunner, Result

from slipcast.configs.errors import SlipcastError
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.exporters import levels as levels_module
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.exporters.levels import with_faces
from slipcast.pipeline.exporters.table import WRITERS, Format
from slipcast.pipeline.finished import read_run
from slipcast.pipeline.library import asset_of_run
from slipcast.systems.mesh.report import report
from slipcast.systems.types import Mesh


@pytest.fixture(scope="module")
def full(ball: Path) -> Mesh:
    return Mesh.load(ball / "40-mesh" / "mesh.safetensors")


@pytest.fixture
def run(ball: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(ball, Path("runs") / ball.name))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def with_setting(run: Path, faces: int) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["config"]["export"]["faces"] = faces
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_it_is_closed_and_painted_as_the_mesh_was(full: Mesh) -> None:
    """The full mesh's colour at p is (p + 1) / 2, so a texture tells where its texel lies."""
    few = with_faces(full, 400)
    told = report(few)
    assert told.watertight and told.outward and told.components == 1
    assert 360 <= told.faces <= 400
    assert told.volume == pytest.approx(report(full).volume, rel=0.03)
    assert few.uv is not None and few.texture is not None and full.texture is not None
    assert few.texture.shape == full.texture.shape
    middle, edge = few.vertices[few.faces].mean(1), len(few.texture)
    u, v = few.uv[few.faces].mean(1).T
    shown = few.texture[((1 - v) * edge).astype(int), (u * edge).astype(int)] / 255
    assert np.abs(shown - (middle + 1) / 2).mean() < 0.02


def test_a_mesh_that_has_no_more_stays_itself_with_all_its_maps(tmp_path: Path) -> None:
    mesh = pot()
    assert with_faces(mesh, len(mesh.faces)) is with_faces(mesh, None) is mesh
    few = with_faces(mesh, 200)
    assert few.texture is not None and few.normal_map is None and few.orm is None
    bare = with_faces(mesh.with_(uv=None, texture=None, normal_map=None, orm=None), 200)
    assert bare.texture is None and report(bare).watertight
    assert call(finished_run(tmp_path), "--faces", 10**6, "--out", tmp_path / "out").exit_code == 0
    read, _ = read_glb(tmp_path / "out" / "a-blue-pot.glb")
    assert len(read.faces) == len(mesh.faces) and read.normal_map is not None and read.orm is not None


def test_the_command_reduces_all_formats_and_levels_are_fractions_of_that(run: Path) -> None:
    words = ["--faces", 400, "--lods", "--height", 0.3, "--format", "glb,obj", "--json", "--name", "b"]
    result = call(run, *words)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    read, _ = read_glb(run / "exports" / "b.glb")
    assert 360 <= len(read.faces) <= 400
    assert read.vertices[:, 2].min() == 0 and np.ptp(read.vertices[:, 2]) == pytest.approx(0.3, rel=1e-6)
    lines = (run / "exports" / "b.obj").read_text().splitlines()
    assert sum(line.startswith("f ") for line in lines) == len(read.faces)
    for level, fraction in zip(told["lods"], (0.5, 0.25, 0.1), strict=True):
        assert level["faces"] == pytest.approx(fraction * len(read.faces), rel=0.15)


def test_the_runs_own_setting_holds_for_export_and_library_until_told_otherwise(
    run: Path, full: Mesh
) -> None:
    with_setting(run, 300)
    counts = []
    for words in ([], ["--faces", 500], ["--faces", len(full.faces)]):
        assert call(run, "--force", *words).exit_code == 0
        counts.append(len(read_glb(run / "exports" / "a-ball.glb")[0].faces))
    assert counts[0] <= 300 < counts[1] <= 500 and counts[2] == len(full.faces)
    assert len(asset_of_run(read_run(run), {}, name="x").mesh.faces) == counts[0]


def test_a_surface_that_would_break_keeps_more_and_says_so(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels_module, "levels_of_detail", lambda mesh, fractions, **more: [mesh])
    result = call(run, "--faces", 100, "--name", "b")
    assert result.exit_code == 0
    assert "note: b has " in result.stderr and " faces, not 100: with fewer its surface" in result.stderr


def test_too_few_faces_are_refused_before_anything_is_written(run: Path) -> None:
    for faces in (3, 0, -5):
        result = call(run, f"--faces={faces}")
        assert result.exit_code == 2 and f"export.faces expects at least 4, not {faces}" in result.stderr
    assert not (run / "exports").exists()


def test_the_command_that_tries_again_asks_for_the_same(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(asset: Asset, path: Path) -> None:
        raise SlipcastError("the disk is full")

    words = ["--faces", "300", "--roughness", "0.4", "--textures", "jpeg"]
    with monkeypatch.context() as patch:
        patch.setitem(WRITERS, "ply", Format(lambda: full_disk))
        result = call(run, "--format", "glb,ply", *words)
    assert result.exit_code == 1
    told = shlex.split(result.stderr.split("`")[-2])
    assert " ".join(words[:2]) in " ".join(told) and set(words) <= set(told)
    assert CliRunner().invoke(app, told[1:]).exit_code == 0
