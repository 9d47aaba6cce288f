"""The mesh stage on real fields: any face count, and seams from afar; told where either cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fakes.solid_fields import SolidField, sphere
from fakes.stage_records import finish

from slipcast.configs.loading import load_config
from slipcast.pipeline.exporters.glb import read_glb
from slipcast.pipeline.make import MakeResult, make
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages import mesh as mesh_stage
from slipcast.pipeline.stages.facts import MeshFacts
from slipcast.systems.field.voxels import VoxelField
from slipcast.systems.mesh.report import report
from slipcast.systems.types import Mesh

PROMPT = "a blue and white porcelain vase"
SMALL = ("refine.steps=0", "mesh.normal_map=false", "mesh.ambient_occlusion=false")


def meshed(field: SolidField, folder: Path, *settings: str) -> tuple[MeshFacts, list[str], Mesh]:
    """What the stage tells of a field, its notices and its mesh."""
    for name in ("30-refine", "40-mesh"):
        (folder / name).mkdir()
    VoxelField.from_field(field, 48).save(folder / "30-refine" / "field.safetensors")
    finish(folder / "30-refine")
    config = load_config("smoke", [*SMALL, "mesh.resolution=48", *settings])
    inputs, progress = {"refine/field.safetensors": folder / "30-refine" / "field.safetensors"}, Quiet()
    facts = mesh_stage.run(
        StageContext("balls", config, folder / "40-mesh", inputs, 3, "mesh", progress, models=None)
    )
    json.dumps(facts, allow_nan=False)
    assert set(facts) == MeshFacts.__required_keys__
    return facts, progress.notices, Mesh.load(folder / "40-mesh" / "mesh.safetensors")


def balls(points: torch.Tensor) -> torch.Tensor:
    """Signed distance to 4 x 4 x 2 balls, none of which can have fewer than four faces."""
    count, spacing = points.new_tensor([4, 4, 2]), 0.45
    first = (count - 1) / 2
    nearest = (points / spacing + first).round().clamp_min(0).minimum(count - 1) - first
    return (points - nearest * spacing).norm(dim=1) - 0.14


def checkered(points: torch.Tensor) -> torch.Tensor:
    """Squares a sixth of the box wide in every direction, black and white."""
    return ((points * 6).floor().sum(dim=1, keepdim=True) % 2).expand(-1, 3)


@pytest.mark.slow
def test_pieces_that_need_more_faces_keep_them_and_the_miss_is_told(tmp_path: Path) -> None:
    facts, notices, mesh = meshed(
        SolidField(balls, softness=0.05), tmp_path, "mesh.target_faces=100", "mesh.threshold=40"
    )
    assert facts["components"] == 32 and facts["watertight"] and facts["euler_number"] == 2 * 32
    assert 4 * 32 <= facts["faces"] == len(mesh.faces) <= 10 * 32
    (told,) = [notice for notice in notices if "faces" in notice]
    assert f"{facts['faces']} faces, not the 100 wanted" in told and "32 piece(s) and 0 handle(s)" in told


def test_one_piece_has_the_faces_asked_for_and_nothing_is_told(tmp_path: Path) -> None:
    plain = SolidField(sphere, softness=0.1, color=lambda points: torch.full_like(points, 0.6))
    facts, notices, mesh = meshed(plain, tmp_path, "mesh.target_faces=100")
    assert 90 <= facts["faces"] == len(mesh.faces) <= 100
    assert facts["seams_in_mip_3"]["percentile_95"] <= 1
    assert notices == []


def test_seams_that_show_from_afar_are_told_with_their_size(tmp_path: Path) -> None:
    facts, notices, _ = meshed(
        SolidField(sphere, softness=0.1, color=checkered), tmp_path, "mesh.texture_size=64"
    )
    high = facts["seams_in_mip_3"]["percentile_95"]
    assert high > 20 and facts["seams_in_mip_3"]["points"] > 100
    (told,) = notices
    assert (
        f"more than {high:.1f} of 255" in told and f"the texture's {facts['atlas']['charts']} charts" in told
    )


@pytest.fixture(scope="module")
def vase(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the real starter up to its mesh; its folder of runs."""
    out = tmp_path_factory.mktemp("runs")
    assert made(out, until="refine").made == ("image", "lift", "refine")
    return out


def made(out: Path, *settings: str, until: str | None = None) -> MakeResult:
    config = load_config("smoke", [*SMALL, "export.turntable_frames=0", *settings])
    return make(PROMPT, config, out=out, seed=1, until_stage=until)


def test_a_vase_of_a_hundred_faces_is_closed(vase: Path) -> None:
    run = made(vase, "mesh.target_faces=100")
    assert run.made == ("mesh", "paint", "export") and run.glb is not None
    mesh, _ = read_glb(run.glb)
    told = report(mesh)
    assert told.watertight and told.outward and told.components == 1
    assert len(mesh.faces) <= 110


def test_levels_of_a_vase_are_never_larger_than_the_one_before(vase: Path) -> None:
    run = made(vase, "export.lods=[0.5,0.01]")
    levels = json.loads((run.run / "manifest.json").read_text())["stages"]["export"]["facts"]["lods"]
    assert run.glb is not None and [level["fraction"] for level in levels] == [0.5, 0.01]
    counts = [len(read_glb(run.glb)[0].faces)]
    for level in levels:
        mesh, _ = read_glb(run.glb.parent / level["files"]["glb"])
        assert report(mesh).watertight and len(mesh.faces) == level["faces"]
        counts.append(len(mesh.faces))
    assert counts[0] > counts[1] > counts[2] and counts[2] <= 0.02 * counts[0]
