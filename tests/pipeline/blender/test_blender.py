"""What is written around Blender: checks, catalogues, libraries, the extension's zip. No Blender is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
import uuid
import zipfile
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.blender_programs import fake, says, triangle
from fakes.pipeline_stages import Workshop
from fakes.stage_records import finish
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.loading import load_config
from slipcast.pipeline import library as library_module
from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.blender.addon import SOURCE, write_extension
from slipcast.pipeline.blender.catalogues import FILE, catalogue_id, domain_catalogue, write_catalogues
from slipcast.pipeline.blender.process import SCRIPTS, Blender
from slipcast.pipeline.blender.writer import properties, weld, write_blend
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.library import build_library, run_folders
from slipcast.pipeline.library_index import FILE as INDEX
from slipcast.pipeline.run.progress import Quiet

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="the stand-ins for Blender are scripts with a shebang"
)


# Writing


def test_a_crash_leaves_no_file_and_spares_the_old_one(tmp_path: Path) -> None:
    body = "print('Blender 4.2.0') if '--version' in sys.argv else sys.exit('boom')"
    path = tmp_path / "out" / "a.blend"
    path.parent.mkdir()
    path.write_bytes(b"old")
    with pytest.raises(SlipcastError, match="boom"):
        write_blend(Asset(triangle(), "a"), path, blender=fake(tmp_path / "blender", body))
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"faces": 0}, "0 of 1 faces"),
        ({"asset": None}, "the object is not marked as an asset"),
    ],
)
def test_a_file_that_lost_something_is_refused(tmp_path: Path, change: dict[str, object], told: str) -> None:
    item = {"faces": 1, "asset": {}} | change
    reply = json.dumps({"objects": [item], "images": {}, "missing_files": []})
    body = (
        "print('Blender 4.2.0')\nif '--version' in sys.argv: sys.exit()\n"
        f"open(json.load(open(sys.argv[-2]))['output'], 'w').write('x'); open(sys.argv[-1], 'w').write({reply!r})"
    )
    with pytest.raises(SlipcastError, match=f"was not written: read back, {told}"):
        write_blend(Asset(triangle(), "a"), tmp_path / "a.blend", blender=fake(tmp_path / "blender", body))
    assert not (tmp_path / "a.blend").exists()


def test_a_mesh_that_is_nothing_is_refused_before_blender_starts(tmp_path: Path) -> None:
    program = says(tmp_path / "blender", "4.2.0")
    nowhere = triangle(vertices=np.full((3, 3), np.nan, np.float32))
    for mesh in (nowhere, triangle(faces=np.zeros((0, 3), np.int32))):
        with pytest.raises(SlipcastError, match="run the mesh stage again"):
            write_blend(Asset(mesh, "a"), tmp_path / "a.blend", blender=program)


def test_welding_joins_seams_and_leaves_what_it_would_spoil() -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    places, index = weld(square, faces)
    assert len(places) == 4 and np.array_equal(places[index], square)
    for spoilt in (
        np.array([[0, 1, 2], [3, 0, 5]]),  # a face with the same corner twice
        np.array([[0, 1, 2], [3, 4, 1]]),  # two faces on each other
    ):
        places, index = weld(square, spoilt)
        assert np.array_equal(places, square) and np.array_equal(index, np.arange(6))


def test_properties_are_what_blender_can_hold() -> None:
    told = properties(
        {"seed": 2**62, "small": 7, "on": True, "models": {"base": "x"}, "none": None, "é" * 40: 1.5}
    )
    assert told == {"seed": str(2**62), "small": 7, "on": True, "models": '{"base": "x"}', "é" * 30: 1.5}


# Library


def test_catalogues_are_a_valid_file_with_stable_ids(tmp_path: Path) -> None:
    paths = [domain_catalogue("starter"), domain_catalogue("/models/my: porcelain/")]
    file = write_catalogues(tmp_path, paths)
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    assert file.name == "blender_assets.cats.txt" and lines[0] == "VERSION 1"
    entries = dict(line.split(":", 1) for line in lines[1:])
    assert all(str(uuid.UUID(key)) == key for key in entries)
    assert sorted(entries.values()) == [
        "slipcast/my- porcelain:slipcast-my- porcelain",
        "slipcast/starter:slipcast-starter",
        "slipcast:slipcast",
    ]
    # Written down once: another id would tear the assets of older libraries out of their catalogue.
    assert catalogue_id("slipcast/starter") == "1776cdcd-6041-5346-b726-3ed93ab9f107"


def test_a_catalogue_file_of_others_is_added_to(tmp_path: Path) -> None:
    theirs = f"# mine\nVERSION 1\n\n{uuid.UUID(int=5)}:Props/Vases:vases"
    (tmp_path / FILE).write_text(theirs)
    write_catalogues(tmp_path, ["slipcast/a"])
    once = (tmp_path / FILE).read_text()
    assert once.startswith(theirs + "\n") and "slipcast/a:slipcast-a\n" in once
    write_catalogues(tmp_path, ["slipcast/a"])
    assert (tmp_path / FILE).read_text() == once
    write_catalogues(tmp_path, ["slipcast/b"])
    assert (tmp_path / FILE).read_text().startswith(once)
    (tmp_path / FILE).write_text("VERSION 2\n")
    with pytest.raises(SlipcastError, match="not a catalogue file of version 1"):
        write_catalogues(tmp_path, ["slipcast/a"])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A finished run, one stopped before its mesh, one outdated, one unreadable, and a folder that is no run."""
    folder = tmp_path / "runs"
    for name, status in (("vase-0", "finished"), ("bowl-1", "outdated"), ("cup-2", None)):
        mesh = folder / name / "40-mesh"
        mesh.mkdir(parents=True)
        triangle().save(mesh / "mesh.safetensors")
        if status is not None:
            finish(mesh)
        domain = {"domain": {"id": "starter", "revision": "1", "licence": "CC-BY-4.0"}}
        stages = {"image": {"models": domain}} | ({"mesh": {"status": status}} if status else {})
        told = {"prompt": "a vase", "seed": 3, "stages": stages}
        (folder / name / "manifest.json").write_text(json.dumps(told))
    (folder / "torn-3").mkdir()
    (folder / "torn-3" / "manifest.json").write_text("{")
    (folder / "notes").mkdir()
    return folder


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Asset]:
    """The assets handed to Blender; each becomes a file that says so."""
    assets: list[Asset] = []

    def build(asset: Asset, path: Path, blender: Blender, **options: object) -> None:
        if asset.name.startswith("bad"):
            raise SlipcastError("Blender fell over")
        assets.append(asset)
        path.write_text(asset.name)

    monkeypatch.setattr(library_module, "build_blend", build)
    return assets


def _find() -> Blender:
    return Blender(Path("blender"), False, (4, 2, 0))


def test_a_library_holds_the_finished_runs_and_says_why_not_the_others(
    runs: Path, tmp_path: Path, built: list[Asset]
) -> None:
    library = build_library(runs, tmp_path / "lib", _find, Quiet(), credits={"author": "me", "licence": ""})
    assert list(library.made) == ["vase-0"] and (tmp_path / "lib" / "vase-0.blend").is_file()
    assert list(library.skipped) == ["bowl-1", "cup-2", "torn-3"]
    assert library.skipped["bowl-1"] == "its mesh stage is outdated"
    assert "has no finished mesh" in library.skipped["cup-2"]
    assert "cannot be read as the manifest of a slipcast run" in library.skipped["torn-3"]
    (asset,) = built
    low, high = asset.mesh.vertices.min(0), asset.mesh.vertices.max(0)
    assert np.allclose(low, [-0.5, 0, 0]) and np.allclose(high, [0.5, 0, 1])
    assert asset.name == "vase-0" and asset.facts["author"] == "me" and "licence" not in asset.facts
    assert asset.facts["catalogue"] == "slipcast/starter" and asset.facts["seed"] == 3
    assert asset.facts["tags"] == ["slipcast", "starter"]
    assert asset.facts["description"] == "a vase. Made with starter (CC-BY-4.0)."
    assert catalogue_id("slipcast/starter") in (tmp_path / "lib" / FILE).read_text()


def test_the_height_of_the_run_is_kept(runs: Path, tmp_path: Path, built: list[Asset]) -> None:
    manifest = runs / "vase-0" / "manifest.json"
    told = json.loads(manifest.read_text())
    told["config"] = {"export": {"height_m": 1.2}}
    manifest.write_text(json.dumps(told))
    build_library(runs / "vase-0", tmp_path / "lib", _find, Quiet())
    assert built[0].mesh.vertices[:, 2].max() == pytest.approx(1.2)


def test_height_roughness_and_faces_may_be_others_in_a_library(
    runs: Path, tmp_path: Path, built: list[Asset]
) -> None:
    (runs / "torn-3" / "manifest.json").unlink()
    words = ["blender", "library", str(runs), str(tmp_path / "lib"), "--height", "0.3", "--roughness", "0.9"]
    program = tmp_path / "blender"
    program.write_text("#!/bin/sh\necho 'Blender 4.2.0'\n")
    program.chmod(0o755)
    result = CliRunner().invoke(app, [*words, "--blender", str(program)])
    assert result.exit_code == 0, result.stderr
    assert built[0].mesh.vertices[:, 2].max() == pytest.approx(0.3) and built[0].roughness == 0.9
    with pytest.raises(BadInput, match=r"setting export\.height_m expects at least 0\.001, not -1"):
        build_library(runs, tmp_path / "other", _find, Quiet(), changes={"height_m": -1})


def _of_extension(name: str) -> Any:
    """A file of the extension; the package needs bpy, this file of it does not."""
    known = f"slipcast_extension_{name}"
    if known not in sys.modules:
        spec = util.spec_from_file_location(known, SOURCE / f"{name}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[known] = util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[known])
    return sys.modules[known]


def list_runs(folder: Path, library: Path | None = None) -> list[Any]:
    """What the extension's list holds."""
    return _of_extension("runs").list_runs(folder, library)


@pytest.mark.parametrize(
    ("output", "code", "run", "failure"),
    [
        ('{"run": "a"}', 0, "a", ""),
        ('{"run": "a"}', 1, "a", "blend is missing"),  # made, but for one of its files
        ('{"error": "x"}', 1, None, "blend is missing"),
        ("", 2, None, "blend is missing"),
        ("", 0, None, "the command ended without a result"),
    ],
)
def test_the_extension_takes_a_run_that_lacks_a_file(
    tmp_path: Path, output: str, code: int, run: str | None, failure: str
) -> None:
    body = f"print('slipcast: blend is missing', file=sys.stderr); print({output!r}); sys.exit({code})"
    task = _of_extension("task").Task([str(fake(tmp_path / "slipcast", body))], tmp_path)
    while task.poll():
        time.sleep(0.01)
    assert (None if task.result is None else task.result["run"]) == run and task.failure == failure


def _never() -> Blender:
    raise AssertionError("nothing is to be written, so no Blender is looked for")


def test_a_library_is_resumed_and_forced(runs: Path, tmp_path: Path, built: list[Asset]) -> None:
    lib, console = tmp_path / "lib", Quiet()
    assert list(build_library(runs, lib, _find, console).made) == ["vase-0"]
    (lib / "vase-0.blend").write_text("as it was")
    library = build_library(runs, lib, _never, console)
    assert list(library.kept) == ["vase-0"] and (lib / "vase-0.blend").read_text() == "as it was"
    assert console.notices == []
    meshed = runs / "vase-0" / "40-mesh"
    triangle(vertices=np.eye(3, dtype=np.float32)).save(meshed / "mesh.safetensors")
    finish(meshed)
    assert list(build_library(runs, lib, _never, console).kept) == ["vase-0"]
    assert len(console.notices) == 1 and "shows another mesh than its run has now" in console.notices[0]
    assert list(build_library(runs, lib, _find, Quiet(), force=True).made) == ["vase-0"]
    assert (lib / "vase-0.blend").read_text() == "vase-0"
    assert list(build_library(runs, lib, _never, console).kept) == ["vase-0"] and len(console.notices) == 1


def test_runs_of_one_name_have_a_file_each(runs: Path, tmp_path: Path, built: list[Asset]) -> None:
    """Two folders of runs, and a folder that leads to both: a file is kept for the run that it was made of alone."""
    lib, others = tmp_path / "lib", tmp_path / "others"
    shutil.copytree(runs / "vase-0", others / "vase-0")
    first = build_library(runs, lib, _find, Quiet())
    second = build_library(others, lib, _find, Quiet())
    assert list(first.made) == ["vase-0"] and list(second.made) == ["vase-0-2"] and not second.kept
    assert {path.name: path.read_text() for path in lib.glob("*.blend")} == {
        "vase-0.blend": "vase-0",
        "vase-0-2.blend": "vase-0-2",  # and the objects are named apart in the browser
    }
    both = tmp_path / "both"
    both.mkdir()
    (both / "a").symlink_to(runs / "vase-0")
    (both / "b").symlink_to(others / "vase-0")
    again = build_library(both, lib, _never, Quiet())
    assert again.kept == {"vase-0": lib / "vase-0.blend", "vase-0-2": lib / "vase-0-2.blend"}
    others.rename(tmp_path / "moved")  # a run that was moved is the same run
    moved = build_library(tmp_path / "moved", lib, _never, Quiet())
    assert moved.kept == {"vase-0-2": lib / "vase-0-2.blend"}
    assert _blends(runs, lib) == {"vase-0": lib / "vase-0.blend"}
    assert _blends(tmp_path / "moved", lib) == {"vase-0": lib / "vase-0-2.blend"}


@pytest.mark.parametrize("force", [False, True])
def test_somebodys_own_file_in_a_library_is_let_be(
    runs: Path, tmp_path: Path, built: list[Asset], force: bool
) -> None:
    lib = tmp_path / "lib"
    lib.mkdir()
    (lib / "vase-0.blend").write_text("mine")
    library = build_library(runs, lib, _find, Quiet(), force=force)
    assert library.made == {"vase-0-2": lib / "vase-0-2.blend"}
    assert (lib / "vase-0.blend").read_text() == "mine"
    assert _blends(runs, lib) == {"vase-0": lib / "vase-0-2.blend"}


def test_a_build_stopped_at_any_time_goes_on_with_the_same_names(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(runs / "vase-0", runs / "wine-0")
    lib, stopped = tmp_path / "lib", []

    def build(asset: Asset, path: Path, blender: Blender, **options: object) -> None:
        stopped.append(asset.name)
        if len(stopped) == 1:
            raise KeyboardInterrupt  # before there is a file
        path.write_text(asset.name)
        if len(stopped) == 2:
            raise KeyboardInterrupt  # before it is noted which mesh the file shows

    monkeypatch.setattr(library_module, "build_blend", build)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            build_library(runs, lib, _find, Quiet())
    console = Quiet()
    library = build_library(runs, lib, _find, console)
    assert (list(library.kept), list(library.made)) == (["vase-0"], ["wine-0"])
    assert stopped == ["vase-0", "vase-0", "wine-0"] and console.notices == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"files": []}', '{"files": {"a": {}}}', "[" * 5000, "\xff"]
)
def test_a_damaged_index_is_a_sentence_and_loses_nothing(
    runs: Path, tmp_path: Path, built: list[Asset], text: str
) -> None:
    lib = tmp_path / "lib"
    lib.mkdir()
    (lib / INDEX).write_bytes(text.encode("latin-1"))
    with pytest.raises(SlipcastError, match="is not the index of a library"):
        build_library(runs, lib, _never, Quiet())
    assert (lib / INDEX).read_bytes() == text.encode("latin-1")
    assert _blends(runs, lib) == {"vase-0": None}


def test_the_extension_reads_the_index_that_is_written() -> None:
    assert f'_INDEX = "{INDEX}"' in (SOURCE / "runs.py").read_text(encoding="utf-8")


def _blends(runs: Path, library: Path) -> dict[str, Path | None]:
    """What the extension offers for each finished run."""
    return {run.name: run.blend for run in list_runs(runs, library) if run.name == "vase-0"}


FACTS_OF_RUNS = [
    ({"files": {"glb": "a.glb", "blend": "a.blend"}}, "a.blend"),
    ({"files": {"glb": "a.glb"}}, "a.glb"),  # a .blend of somebody's own is no reason to take it
    ({"files": {"glb": "a.glb", "blend": "../a.blend"}}, "a.glb"),
    ({"files": {"glb": "a.glb", "blend": ["a.blend"]}}, "a.glb"),
    ({"files": {"glb": "gone.glb"}}, None),
    ({"files": []}, None),
    (None, None),
]


@pytest.mark.parametrize(("facts", "name"), FACTS_OF_RUNS)
def test_the_extension_offers_the_file_that_the_stage_named(
    tmp_path: Path, facts: object, name: str | None
) -> None:
    """Levels of detail, and files of people's own, are newer and lie beside it."""
    files = tmp_path / "a-0" / "50-export"
    files.mkdir(parents=True)
    for age, file in enumerate(
        ("a.blend", "a.glb", "a_lod1.blend", "a_lod2.blend", "a_lod1.glb", "my-edit.blend")
    ):
        (files / file).write_text(file)
        os.utime(files / file, (age, age))
    (tmp_path / "a-0" / "a.blend").write_text("outside")
    export = {"status": "finished", "folder": "50-export", "facts": facts}
    told = {"prompt": "a", "seed": 0, "stages": {"export": export}}
    (tmp_path / "a-0" / "manifest.json").write_text(json.dumps(told))
    (run,) = list_runs(tmp_path)
    assert run.file == (files / name if name else None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        '{"prompt": "a"}',
        '{"prompt": "a", "seed": 1e999}',
        '{"prompt": "a", "seed": NaN}',
        "[" * 9999,
    ],
)
def test_the_list_passes_over_manifests_that_are_none(tmp_path: Path, text: str) -> None:
    for name, content in (("a-0", '{"prompt": "a", "seed": 0}'), ("bad-0", text)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(content)
    assert [run.name for run in list_runs(tmp_path)] == ["a-0"]


def test_one_failure_stops_no_other(runs: Path, tmp_path: Path, built: list[Asset]) -> None:
    (runs / "vase-0").rename(runs / "zebra-0")
    shutil.copytree(runs / "zebra-0", runs / "bad-0")
    library = build_library(runs, tmp_path / "lib", _find, Quiet())
    assert library.failed == {"bad-0": "Blender fell over"} and list(library.made) == ["zebra-0"]


def test_folders_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="RUNS expects a folder"):
        run_folders(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="holds no runs"):
        run_folders(tmp_path)


# The command line and the extension's own files


def test_the_commands_print_results_alone(
    runs: Path, tmp_path: Path, built: list[Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, lib = says(tmp_path / "blender", "4.5.1"), tmp_path / "lib"
    monkeypatch.chdir(tmp_path)
    call = CliRunner().invoke
    result = call(app, ["blender", "library", str(runs), str(lib), "--blender", str(program)])
    assert result.exit_code == 0 and result.stdout.strip() == str(lib)
    assert "bowl-1 was skipped: its mesh stage is outdated" in result.stderr
    told = json.loads(call(app, ["blender", "library", str(runs), str(lib), "--json"]).stdout)
    assert list(told["kept"]) == ["vase-0"] and set(told["skipped"]) == {"bowl-1", "cup-2", "torn-3"}
    shutil.copytree(runs / "vase-0", runs / "bad-0")
    result = call(app, ["blender", "library", str(runs), str(lib), "--blender", str(program), "--json"])
    assert result.exit_code == 1 and json.loads(result.stdout)["failed"] == {"bad-0": "Blender fell over"}
    assert result.stderr.strip().splitlines()[-1].startswith("slipcast: 1 of the runs")
    told = json.loads(call(app, ["blender", "check", "--blender", str(program), "--json"]).stdout)
    assert told == {"program": str(program), "version": "4.5.1", "is_python": False}
    result = call(app, ["blender", "check", "--blender", str(tmp_path / "none")])
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1


def test_the_extension_is_a_zip_that_blender_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["blender", "extension", "--out", "here"])
    path = Path(result.stdout.strip())
    assert path == Path("here/slipcast-0.1.0.zip")
    names = set(zipfile.ZipFile(path).namelist())
    assert names == {file.name for file in SOURCE.iterdir() if file.is_file()}
    assert {"blender_manifest.toml", "__init__.py", "LICENSE", "README.md"} <= names
    assert write_extension(tmp_path / "again").read_bytes() == path.read_bytes()


def test_code_that_runs_in_blender_imports_nothing_of_slipcast() -> None:
    for folder in (SOURCE, SCRIPTS):
        for file in folder.glob("*.py"):
            lines = file.read_text(encoding="utf-8")
            assert not re.search(r"^\s*(from|import) (slipcast|\.\.)", lines, re.MULTILINE), file.name
            assert folder != SOURCE or lines.startswith("# SPDX-License-Identifier: GPL-3.0-or-later")


def test_the_scripts_are_where_the_package_looks_for_them() -> None:
    there = {file.name for file in SCRIPTS.iterdir()}
    assert {"build_asset.py", "inspect_blend.py", "inspect_glb.py"} <= there


def test_runs_of_the_pipeline_itself_are_read(tmp_path: Path) -> None:
    """Its stages are fakes without a mesh; the manifest is what ``make`` writes."""
    Workshop(tmp_path / "runs").make(load_config("starter", []), "a blue vase")
    (run,) = run_folders(tmp_path / "runs")
    assert "has no finished mesh" in str(library_module._examine(run))
