"""``slipcast export`` and the export stage: which files, which names, what is refused, what survives a failure."""

from __future__ import annotations

import importlib
import json
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.pot import MODELS, PROMPT, finished_run, pot, usd_mesh
from fakes.stage_records import finish
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner, Result

from slipcast.configs.loading import load_config
from slipcast.configs.schema import ExportConfig, MakeConfig
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.exporters.glb import read_glb, write_glb
from slipcast.pipeline.exporters.table import WRITERS, Format
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.prompts import file_name
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages import export as export_stage
from slipcast.pipeline.stages.facts import ExportFacts
from slipcast.pipeline.stages.table import STAGES
from slipcast.systems.types import SubjectImage


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return finished_run(Path("runs"))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def refused(*arguments: object) -> str:
    """The one sentence of a command that ends with exit code 2."""
    result = call(*arguments)
    lines = [line for line in result.stderr.splitlines() if line.startswith("slipcast: ")]
    assert result.exit_code == 2 and result.stdout == "" and len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]


def test_it_prints_the_path_of_each_file(run: Path) -> None:
    result = call(run, "--format", "glb, .STL,ply,glb", "--height", "0.3")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"{run}/exports/a-blue-pot.{kind}" for kind in ("glb", "stl", "ply")
    ]
    mesh, extras = read_glb(run / "exports" / "a-blue-pot.glb")
    assert (extras["prompt"], extras["seed"], extras["models"]) == (PROMPT, 3, MODELS)
    assert np.ptp(mesh.vertices[:, 2]) == pytest.approx(0.3)


def test_json_is_one_object_and_the_name_goes_into_file_and_object(run: Path) -> None:
    told = json.loads(call(run, "--json", "--name", "Vase_01", "--out", "elsewhere").stdout)
    assert told == {
        "run": str(run),
        "folder": "elsewhere",
        "files": {"glb": "elsewhere/Vase_01.glb"},
        "failed": {},
        "lods": [],
    }
    content = Path("elsewhere/Vase_01.glb").read_bytes()
    assert b'"name":"Vase_01"' in content and PROMPT.encode() in content


def test_what_the_run_was_exported_with_holds_until_told_otherwise(tmp_path: Path) -> None:
    run = finished_run(tmp_path, formats=["glb", "ply"], height_m=0.5, roughness=0.9)
    told = json.loads(call(run, "--json").stdout)
    assert list(told["files"]) == ["glb", "ply"]
    mesh, extras = read_glb(Path(told["files"]["glb"]))
    assert np.ptp(mesh.vertices[:, 2]) == pytest.approx(0.5) and extras["roughness"] == 0.9


def test_a_run_made_with_the_starter_is_glossy(tmp_path: Path) -> None:
    run = finished_run(tmp_path, pot().with_(orm=None))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"]["image"]["models"]["domain"]["id"] = "starter"
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert call(run).exit_code == 0
    assert read_glb(run / "exports" / "a-blue-pot.glb")[1]["roughness"] == 0.2


def test_the_run_itself_stays_as_it_was(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    call(run, "--out", "elsewhere")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("inside", [".", "40-mesh", "40-mesh/mesh.safetensors"])
def test_a_path_inside_the_run_leads_to_it(run: Path, inside: str) -> None:
    assert call(run / inside, "--out", "elsewhere").exit_code == 0


def test_existing_files_are_kept_without_force(run: Path) -> None:
    exports = run / "exports"
    exports.mkdir()
    (exports / "a-blue-pot.mtl").write_text("somebody's own")
    assert "a-blue-pot.mtl exists already; --force" in refused(run, "--format", "glb,obj")
    assert [path.name for path in exports.iterdir()] == ["a-blue-pot.mtl"]  # nothing was half done
    assert call(run, "--format", "glb,obj", "--force").exit_code == 0
    assert "newmtl a-blue-pot" in (exports / "a-blue-pot.mtl").read_text()
    assert "and 7 more" in refused(run, "--format", "glb,obj")
    assert call(run, "--format", "glb,obj", "--name", "another").exit_code == 0


NAMES = [
    "a/b", "../../x", "..", ".", "/", "C:\\x", 'say "pot"', "it's", "🏺🏺",
    "x" * 300, "茶壶", "nul", "a\tb", "-rf", "a.glb",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_becomes_a_file_inside_the_folder(run: Path, name: str, tmp_path: Path) -> None:
    result = call(run, f"--name={name}", "--out", "elsewhere", "--json")
    assert result.exit_code == 0, result.stderr
    (path,) = Path("elsewhere").iterdir()
    assert json.loads(result.stdout)["files"] == {"glb": str(path)} and len(path.name) < 80
    assert {entry.name for entry in tmp_path.iterdir()} == {"runs", "elsewhere"}


@given(st.text(min_size=1).filter(str.strip))
def test_a_file_name_is_safe_everywhere_and_short(name: str) -> None:
    safe = file_name(name)
    assert all(unicodedata.category(c)[0] in "LMN" or c in "_-" for c in safe) and safe[0] not in "_-"
    assert len(safe.encode()) < 70 and unicodedata.is_normalized("NFC", safe)
    assert not re.fullmatch(r"(?i)con|prn|aux|nul|com\d|lpt\d", safe)
    assert file_name(safe) == safe or len(safe.encode()) > 60


def test_names_that_lose_something_stay_apart() -> None:
    assert len({file_name(name) for name in NAMES}) == len(NAMES)
    assert file_name("Blue  Vase 2") == "Blue-Vase-2"
    assert file_name("茶壶") == "茶壶" and file_name("Cafe\u0301") == "Caf\u00e9"
    assert file_name("nul") != "nul" and file_name("COM1") != "COM1" and file_name("null") == "null"


@pytest.mark.parametrize("kind", WRITERS)
def test_the_ending_of_a_format_is_no_part_of_the_name(kind: str) -> None:
    assert file_name(f"vase.{kind}") == file_name(f"vase.{kind.upper()}") == "vase"
    assert file_name(f"big vase.{kind}") == "big-vase"
    assert file_name(f".{kind}") != kind and file_name("vase.v2") != "vase-v2"


def test_names_in_any_script_go_into_every_format(run: Path) -> None:
    result = call(run, "--name", "青花瓷 茶壶", "--format", "glb,obj,ply,stl,usdz", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0 and told["failed"] == {}
    assert {Path(path).stem for path in told["files"].values()} == {"青花瓷-茶壶"}
    assert len(usd_mesh(Path(told["files"]["usdz"])).GetPointsAttr().Get()) == len(pot().vertices)
    assert "mtllib 青花瓷-茶壶.mtl" in Path(told["files"]["obj"]).read_text(encoding="utf-8")


def test_bad_input_is_one_sentence_and_writes_nothing(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "no format 'gbl'; did you mean glb?" in refused(run, "--format", "ply,gbl")
    assert "known are glb, gltf, obj, ply, stl, usdz, fbx, blend" in refused(run, "--format", "maquette")
    assert "--format expects one or more of glb" in refused(run, "--format", " , ")
    assert "the name is empty" in refused(run, "--name", "  ")
    assert "export.height_m expects at least 0.001" in refused(run, "--height", "0")
    assert "export.height_m expects a finite number" in refused(run, "--height", "nan")
    assert "there is no folder nowhere" in refused("nowhere")
    assert "runs holds runs but is none; give one of them, such as runs/a-blue-pot-3" in refused("runs")
    assert "is a file, not a folder" in refused(run, "--out", "file")
    assert "belongs to a stage" in refused(run, "--out", run / "50-export")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "file", "manifest.json", "mesh.safetensors", "stage.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("empty folder", "is not the folder of a run (it has no manifest.json)"),
        ("no mesh", "has no finished mesh; `slipcast make --resume runs/a-blue-pot-3` goes on"),
        ("unfinished mesh", "has no finished mesh"),
        ("not json", "cannot be read as the manifest of a slipcast run"),
        ("other json", "is not the manifest of a slipcast run"),
        ("other settings", "export settings that cannot be used"),
    ],
)
def test_a_folder_that_cannot_be_exported(run: Path, damage: str, said: str) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    if damage == "empty folder":
        run = Path("empty")
        run.mkdir()
    elif damage == "no mesh":
        (run / "40-mesh" / "mesh.safetensors").unlink()
    elif damage == "unfinished mesh":
        (run / "40-mesh").rename(run / "40-mesh.partial")
    elif damage == "not json":
        (run / "manifest.json").write_text("{")
    elif damage == "other json":
        (run / "manifest.json").write_text("[1]")
    else:
        manifest["config"]["export"]["height_m"] = "tall"
        (run / "manifest.json").write_text(json.dumps(manifest))
    assert said in refused(run)


def test_a_damaged_mesh_is_a_failure_not_bad_input(run: Path) -> None:
    (run / "40-mesh" / "mesh.safetensors").write_bytes(b"half")
    result = call(run)
    assert result.exit_code == 1 and "mesh.safetensors is not as the run made it" in result.stderr
    finish(run / "40-mesh")  # taken over as edited by hand
    result = call(run)
    assert result.exit_code == 1 and "not a readable slipcast mesh" in result.stderr


def test_one_failing_format_is_told_and_the_others_are_written(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        WRITERS, "blend", Format(lambda: importlib.import_module("slipcast_lacks_this").write)
    )
    result = call(run, "--format", "blend,glb")
    assert result.exit_code == 1 and result.stdout.strip() == f"{run}/exports/a-blue-pot.glb"
    assert (
        "note: blend was not written: this installation lacks the module slipcast_lacks_this\n"
        in result.stderr
    )
    assert f"`slipcast export {run} --format blend` tries again" in result.stderr
    alone = call(run, "--format", "blend", "--out", "elsewhere")
    assert alone.exit_code == 1 and "no format could be written (blend: " in alone.stderr


class _Models:
    def identities(self, roles: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        return {role: told for role, told in MODELS.items() if role in roles}


def _context(tmp_path: Path, **export: Any) -> StageContext:
    folder, run = tmp_path / "50-export.partial", finished_run(tmp_path)
    folder.mkdir()
    (run / "10-image").mkdir()
    ones = np.ones((32, 32), np.float32)
    SubjectImage(np.stack([ones * 0.5] * 3, -1), ones).save(run / "10-image" / "image.png")
    settings = ExportConfig(turntable_frames=2, **export)
    read = ("10-image/image.png", "40-mesh/mesh.safetensors")
    inputs = {"image/image.png": run / read[0], "paint/mesh.safetensors": run / read[1]}
    return StageContext(PROMPT, MakeConfig(export=settings), folder, inputs, 3, "export", Quiet(), _Models())


def test_the_stage_writes_every_format_and_tells_what_it_assumed(tmp_path: Path) -> None:
    ctx = _context(tmp_path, formats=["glb", "obj", "usdz"], height_m=0.25, roughness=0.4)
    facts = export_stage.run(ctx)
    assert facts["files"] == {kind: f"a-blue-pot.{kind}" for kind in ("glb", "obj", "usdz")}
    assert facts.get("glb") == "a-blue-pot.glb" and ExportFacts.__required_keys__ <= set(facts)
    assert facts["failed"] == {} and facts["height_m"] == 0.25
    assert facts["assumed"] == {"roughness": "the setting export.roughness"}
    for name in (*facts["files"].values(), "preview.png", "turntable.gif"):
        assert (ctx.folder / name).stat().st_size > 100
    json.dumps(facts, allow_nan=False)


def test_the_stage_notes_the_format_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        WRITERS, "blend", Format(lambda: importlib.import_module("slipcast_lacks_this").write)
    )
    ctx = _context(tmp_path, formats=["blend", "ply"])
    facts = export_stage.run(ctx)
    assert list(facts["files"]) == ["ply"] and "glb" not in facts
    assert facts["failed"] == {"blend": "this installation lacks the module slipcast_lacks_this"}
    assert isinstance(ctx.progress, Quiet) and len(ctx.progress.notices) == 2
    assert (ctx.folder / "preview.png").is_file()  # of the mesh, where there is no GLB to read


def test_the_pictures_show_the_file_and_not_the_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that loses the colours is seen on the preview and on the turntable."""

    def red(asset: Asset, path: Path) -> None:
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[..., 0] = 255
        write_glb(replace(asset, mesh=asset.mesh.with_(texture=pixels)), path)

    monkeypatch.setattr(Format, "load", lambda self: red)
    ctx = _context(tmp_path, height_m=0.1)
    export_stage.run(ctx)
    for name in ("preview.png", "turntable.gif"):
        with Image.open(ctx.folder / name) as picture:
            pixels = np.asarray(picture.convert("RGB"), np.int16)
        reddish = (pixels[..., 0] > 80) & (pixels[..., 1:].max(-1) < 40)
        assert reddish.mean() > 0.1, name


def test_the_domains_card_says_how_glossy_its_things_are(tmp_path: Path) -> None:
    store = ModelStore(MakeConfig(domain=str(tmp_path)))
    (tmp_path / "domain.json").write_text('{"name": "brick"}')
    assert store.look() == {}
    (tmp_path / "domain.json").write_text('{"name": "brick", "roughness": 1}')
    assert store.look() == store.look() == {"roughness": 1.0}
    assert store.identities(("domain",))["domain"]["roughness"] == 1.0
    assert ModelStore(MakeConfig()).look() == {"roughness": 0.2}
    for wrong in ("-1", "2", '"matt"', "true"):
        (tmp_path / "domain.json").write_text(f'{{"name": "brick", "roughness": {wrong}}}')
        with pytest.raises(Exception, match="expects a number from 0 to 1"):
            store.look()


def test_only_the_export_stage_runs_again_when_the_roughness_changes() -> None:
    known = {
        role: {"id": "x", "revision": "1", "licence": "CC0"} for role in ("base", "domain", "lift_model")
    }
    glossy = known | {"domain": known["domain"] | {"roughness": 0.2}}
    changed = [stage.name for stage in STAGES if stage.identities(known) != stage.identities(glossy)]
    assert changed == ["export"]


def test_settings_take_null_and_refuse_nonsense() -> None:
    assert load_config("starter", ["export.height_m=0.3"]).export.height_m == 0.3
    assert load_config("starter", ["export.height_m=0.3", "export.height_m=null"]).export.height_m is None
    assert load_config("starter", ["export.formats=[glb,stl]"]).export.formats == ["glb", "stl"]
    with pytest.raises(Exception, match="expects a number or null, not 'tall'"):
        load_config("starter", ["export.height_m=tall"])
    with pytest.raises(Exception, match=r"export\.roughness expects at most 1"):
        load_config("starter", ["export.roughness=2"])
