"""Exports that fail in part: what is left, what is said in exit code and JSON, and whether the told command works."""

from __future__ import annotations

import importlib
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.blender_programs import says
from fakes.pipeline_stages import Workshop
from fakes.pot import finished_run
from fakes.stage_records import finish
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.schema import ExportConfig, MakeConfig
from slipcast.pipeline import make as make_module
from slipcast.pipeline.assets.asset import Asset, Writer
from slipcast.pipeline.cli import export as export_module
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.exporters import levels as levels_module
from slipcast.pipeline.exporters.table import WRITERS, Format
from slipcast.pipeline.exporters.writing import missing_for
from slipcast.pipeline.run.commands import command
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import StageContext
from slipcast.systems.field.voxels import VoxelField

ABSENT = Format(lambda: importlib.import_module("slipcast_lacks_this").write)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in a folder whose name a shell would take apart."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLIPCAST_BLENDER", raising=False)
    return finished_run(Path("q q $HOME"))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def told_commands(text: str) -> list[list[str]]:
    """The words of each command between backticks, as a shell reads them."""
    return [shlex.split(part) for part in text.split("`")[1::2]]


def failing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Writers of files with these names fail, after having written half of what they should."""
    load = Format.load

    def load_one_that_fails(self: Format) -> Writer:
        def write(asset: Asset, path: Path) -> None:
            if path.name not in names:
                return load(self)(asset, path)
            path.write_text("half")
            path.with_suffix(".mtl").write_text("half")
            raise SlipcastError("the disk is full")

        return write

    monkeypatch.setattr(Format, "load", load_one_that_fails)


@given(st.lists(st.text(st.characters(exclude_characters="\0"))))
def test_a_shell_reads_a_told_command_as_it_was_meant(words: list[str]) -> None:
    assert shlex.split(command(*words)) == ["slipcast", *words]


@pytest.mark.parametrize("as_json", [False, True])
def test_the_told_command_writes_what_failed_and_only_that(
    run: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    blender = says(Path("a blender").absolute(), "4.5.0")
    options = ["--out", "it's here", "--name", "my pot", "--height", "0.3", "--quads", "--blender", blender]
    with monkeypatch.context() as patch:
        failing(patch, "my-pot.obj", "my-pot.usdz")
        result = call("export", run, "--format", "glb,obj,usdz", *options, *["--json"] * as_json)
    assert result.exit_code == 1
    if as_json:
        told = json.loads(result.stdout)
        assert told["files"] == {"glb": "it's here/my-pot.glb"}
        assert told["failed"] == dict.fromkeys(("obj", "usdz"), "the disk is full")
    else:
        assert result.stdout == "it's here/my-pot.glb\n"
    assert [path.name for path in Path("it's here").iterdir()] == ["my-pot.glb"]
    (words,) = told_commands(result.stderr)
    assert words[:3] == ["slipcast", "export", str(run)] and words[4] == "obj,usdz"
    assert not {"--lods", "--force"} & set(words)
    for option, value in zip(options[::2], options[1::2], strict=False):
        assert option == "--quads" or words[words.index(str(option)) + 1] == str(value)
    glb = Path("it's here/my-pot.glb").read_bytes()
    again = call(*words[1:])
    assert again.exit_code == 0, again.stderr
    assert again.stdout.splitlines() == ["it's here/my-pot.obj", "it's here/my-pot.usdz"]
    assert Path("it's here/my-pot.glb").read_bytes() == glb


def test_if_nothing_could_be_written_the_same_command_does(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, "a-blue-pot.obj")
        result = call("export", run, "--format", "obj")
    assert result.exit_code == 1 and result.stdout == "" and list((run / "exports").iterdir()) == []
    assert call("export", run, "--format", "obj").exit_code == 0


def test_old_files_survive_a_failed_replacement(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("export", run, "--format", "glb,obj", "--height", "1")
    old = {path.name: path.read_bytes() for path in (run / "exports").iterdir()}
    with monkeypatch.context() as patch:
        failing(patch, "a-blue-pot.obj")
        result = call("export", run, "--format", "glb,obj", "--force")
    new = {path.name: path.read_bytes() for path in (run / "exports").iterdir()}
    assert result.exit_code == 1 and [name for name in old if old[name] != new[name]] == ["a-blue-pot.glb"]
    (words,) = told_commands(result.stderr)
    assert "--force" in words and call(*words[1:]).exit_code == 0
    assert (run / "exports" / "a-blue-pot.obj").read_bytes() != old["a-blue-pot.obj"]


def test_a_level_that_failed_is_written_by_the_told_command(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "30-refine").mkdir()
    (run / "30-refine" / "field.safetensors").write_text("")
    finish(run / "30-refine")
    monkeypatch.setattr(VoxelField, "load", lambda path: path)
    monkeypatch.setattr(
        levels_module, "level_meshes", lambda mesh, field, parts, **more: [mesh for _ in parts]
    )
    with monkeypatch.context() as patch:
        failing(patch, "b_lod2.ply", "b_lod1.ply", "b_lod3.ply")
        result = call("export", run, "--lods", "--name", "b", "--format", "ply", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1 and list(told["failed"]) == ["b_lod1.ply", "b_lod2.ply", "b_lod3.ply"]
    assert list(told["files"]) == ["ply"] and [level["files"] for level in told["lods"]] == [{}, {}, {}]
    (words,) = told_commands(result.stderr)
    again = call(*words[1:])
    assert again.exit_code == 0 and len(again.stdout.splitlines()) == 4, again.stderr


def test_a_stopped_export_leaves_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(asset: Asset, path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export_module, "_look", lambda domain: {})
        patch.setitem(WRITERS, "ply", Format(lambda: stop))
        assert call("export", run, "--format", "glb,ply").exit_code == 130
    assert list((run / "exports").iterdir()) == []
    assert call("export", run, "--format", "glb,ply").exit_code == 0  # the same command, as it says


WRONG = [
    ("--height", "nan", "finite"), ("--height", "inf", "finite"), ("--height", "-1", "at least 0.001"),
    ("--blender", "nonsense", "nonsense is neither"), ("--blender", "x" * 300, "give another"),
    ("--blender", "~nouser/x", "--blender cannot be '~nouser/x'"), ("--out", "x" * 300, "give another"),
    ("--out", "a/" + "x" * 300, "give another"), ("--format", "", "expects one or more"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "value", "said"), WRONG)
def test_what_cannot_be_meant_is_one_sentence(run: Path, option: str, value: str, said: str) -> None:
    result = call("export", run, f"{option}={value}")
    lines = [line for line in result.stderr.splitlines() if line.startswith("slipcast: ")]
    assert result.exit_code == 2 and len(lines) == 1 and said in lines[0], result.stderr
    assert not (run / "exports").exists()


def test_a_name_that_is_too_long_for_a_run_or_a_library_is_one_sentence(run: Path) -> None:
    for words in (["export", "x" * 300], ["blender", "library", run.parent, "x" * 300]):
        result = call(*words)
        assert result.exit_code == 2 and "give another" in result.stderr, result.stderr
    assert call("blender", "library", "x" * 300, "lib").exit_code == 2
    assert call("blender", "extension", "--out", "x" * 300).exit_code == 2
    assert call("export", run, "--name", "x" * 300).exit_code == 0


def test_a_run_without_formats_of_its_own_needs_some(tmp_path: Path) -> None:
    run = finished_run(tmp_path, formats=[])
    assert call("export", run).exit_code == 2 and call("export", run, "--format", "ply").exit_code == 0


@pytest.mark.parametrize("lost", ["mesh", "field"])
def test_the_told_make_keeps_the_runs_own_settings(run: Path, lost: str) -> None:
    """A new ``slipcast make PROMPT`` would make it anew with the defaults."""
    if lost == "mesh":
        (run / "40-mesh" / "mesh.safetensors").unlink()
    result = call("export", run, "--lods")
    (words,) = told_commands(result.stderr)
    assert result.exit_code == 2 and words[:4] == ["slipcast", "make", "--resume", str(run)]
    assert words[4:] == ([] if lost == "mesh" else ["--from", "refine"])


# Within slipcast make


def test_make_tries_again_what_failed_and_then_is_finished(tmp_path: Path) -> None:
    workshop, failed = Workshop(tmp_path), {"obj": "the disk is full"}
    stages = list(workshop.stages)

    def export(ctx: StageContext) -> dict[str, Any]:
        workshop.ran.append("export")
        (ctx.folder / "asset.glb").write_text("x")
        return {"glb": "asset.glb", "failed": dict(failed)}

    stages[-1] = replace(stages[-1], function=export, gives=())
    first = workshop.make(stages=stages)
    assert first.failed == failed and first.glb is not None and first.glb.is_file()
    assert workshop.make(stages=stages).failed == failed and workshop.ran == ["export"]
    failed.clear()
    assert workshop.make(stages=stages).failed == {} and workshop.ran == ["export"]
    assert workshop.make(stages=stages).failed == {} and workshop.ran == []


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_make_ends_with_1_and_tells_what_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    workshop = Workshop(tmp_path)
    result = workshop.make()
    record = result.records["export"]
    record.facts["failed"] = {"blend": "no Blender"}
    monkeypatch.setattr(make_module, "make", lambda *arguments, **options: result)
    done = call("make", "a blue vase", "--out", tmp_path, *["--json"] * as_json)
    assert done.exit_code == 1 and done.stderr.strip().endswith("the same command tries again")
    assert str(result.glb) == (json.loads(done.stdout)["glb"] if as_json else done.stdout.strip())


def test_what_cannot_be_written_is_told_before_the_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPCAST_BLENDER", "nonsense")
    workshop, console = Workshop(tmp_path), Quiet()
    alone, both = (MakeConfig(export=ExportConfig(formats=[*more, "blend"])) for more in ([], ["glb"]))
    with pytest.raises(BadInput, match=r"no format could be written \(blend: .*SLIPCAST_BLENDER expects"):
        workshop.make(alone)
    assert workshop.ran == []
    assert workshop.make(alone, until_stage="mesh").made[-1] == "mesh"  # nothing is to be exported
    workshop.hooks["export"] = lambda ctx: console.notice("export")
    workshop.make(both, console=console)
    assert console.notices[0].startswith("blend will not be written: --blender or SLIPCAST_BLENDER expects")
    assert console.notices[1:] == ["export"]
    assert workshop.make(both).made == () and len(console.notices) == 2  # kept: nothing is to be told


def test_an_export_of_nothing_is_refused(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    with pytest.raises(BadInput, match="no format is named, so nothing would be written"):
        workshop.make(MakeConfig(export=ExportConfig(formats=[])))
    assert workshop.ran == [] and list(tmp_path.iterdir()) == []


def test_what_is_missing_is_known_without_an_asset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WRITERS, "usdz", ABSENT)
    assert missing_for(["glb", "obj"]) == {}
    assert missing_for(["glb", "usdz"]) == {"usdz": "this installation lacks the module slipcast_lacks_this"}
    with pytest.raises(BadInput, match="no format could be written"):
        missing_for(["usdz", "usdz"])
