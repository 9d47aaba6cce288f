"""What follows from the table of stages: keys that outlive versions, and the files that a stage may open."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.pipeline_stages import FakeModels, Workshop

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.loading import load_config
from slipcast.pipeline.make import MakeResult, make
from slipcast.pipeline.run.keys import Inputs, given, inputs, stage_keys
from slipcast.pipeline.run.manifest import MANIFEST, Manifest, asked_of, read_manifest
from slipcast.pipeline.run.record import StageRecord, read_record
from slipcast.pipeline.run.stage import Stage, StageContext, check_needs
from slipcast.pipeline.stages.table import STAGES

RECORDED = json.loads(Path(__file__).with_name("run_of_0_1.json").read_text())
"""A run as version 0.1 wrote it: other keys, no note of the machine; made by stages that wrote a line a file."""


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    run = tmp_path / "a-blue-vase-0"
    for name, text in RECORDED["files"].items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    return run


def as_then(stage: Stage) -> Stage:
    """What a stage read when the run was made: the lift has since been told the camera's elevation."""
    return replace(stage, reads=("device",)) if stage.name == "lift" else stage


def go_on(run: Path, *settings: str) -> MakeResult:
    """The recorded command again up to the mesh, with stages of the versions that made it; they make nothing now.

    What came after it then has since been given another stage to read.
    """

    def refuse(ctx: StageContext) -> dict:
        raise SlipcastError(f"stage {ctx.stage} runs")

    stages = [
        replace(as_then(stage), version=RECORDED["versions"][stage.name], function=refuse)
        for stage in STAGES
        if stage.name in RECORDED["versions"]
    ]
    config = load_config("starter", ["device=cpu", "dtype=float32", *settings])
    return make(
        "a blue vase",
        config,
        out=run.parent,
        stages=stages[:-1],
        open_models=lambda config: FakeModels(),
    )


def test_a_run_of_the_version_before_is_kept(old_run: Path) -> None:
    assert go_on(old_run).made == ()


@pytest.mark.parametrize(
    ("setting", "runs"),
    [("image.steps=3", "image"), ("refine.steps=3", "refine"), ("mesh.resolution=32", "mesh")],
)
def test_and_what_changes_runs_again_from_there_on(old_run: Path, setting: str, runs: str) -> None:
    with pytest.raises(SlipcastError, match=f"stage {runs} runs"):
        go_on(old_run, setting)


def test_a_changed_input_counts_in_runs_of_the_version_before_too(old_run: Path) -> None:
    """A picture that was edited by hand and taken over."""
    (old_run / "10-image" / "image.png").write_text("edited")
    record = read_record(old_run / "10-image")
    record = replace(record, outputs={**record.outputs, "image.png": "0" * 64})
    readers = [
        stage for stage in STAGES if "image" in stage.follows and {*stage.follows, stage.name} <= {*_FOLDERS}
    ]
    assert [stage.name for stage in readers] == ["lift", "refine"]
    for stage in readers:
        records = {name: read_record(old_run / folder) for name, folder in _FOLDERS.items()} | {
            "image": record
        }
        made = read_record(old_run / stage.folder)
        keys = stage_keys(as_then(stage), "a blue vase", 0, load_config("starter"), records, made.models)
        assert made.key not in keys


_FOLDERS = {stage.name: stage.folder for stage in STAGES if stage.name in RECORDED["versions"]}


def test_only_what_is_read_of_a_stage_counts() -> None:
    lift = next(stage for stage in STAGES if stage.name == "lift")
    records = {"image": _record({"image.png": "1", "candidates.png": "2", "image.json": "3"})}
    other = {"image": _record({"image.png": "1", "candidates.png": "9"})}
    assert given(lift, records)["image/image.png"] == "1"
    config = load_config("starter")
    now, then = (stage_keys(lift, "a cup", 0, config, one, {}) for one in (records, other))
    assert now[0] == then[0] and now[1] != then[1]


def test_a_revised_value_of_a_setting_makes_runs_of_that_value_again_and_no_others() -> None:
    refine = next(stage for stage in STAGES if stage.name == "refine")
    before, made = replace(refine, revised=()), {name: _record({}) for name in refine.follows}
    for field, same in (("voxels", True), ("hashgrid", False)):
        config = load_config("starter", [f"refine.field={field}"])
        keys = [stage_keys(one, "a cup", 0, config, made, {})[0] for one in (before, refine)]
        assert (keys[0] == keys[1]) is same


def _record(outputs: dict[str, str]) -> StageRecord:
    return StageRecord(key="", outputs=outputs, facts={}, seconds=1.0, peak_memory_mb=1.0)


def test_a_stage_opens_what_it_needs_and_nothing_else(tmp_path: Path) -> None:
    stage = Stage("lift", "20-lift", lambda ctx: {}, needs=("image/image.png", "image/more-*.png"))
    for name in ("image.png", "more-1.png", "more-2.png", "candidates.png"):
        (tmp_path / name).write_bytes(b"x")
    records = {
        "image": _record(dict.fromkeys(("image.png", "more-1.png", "more-2.png", "candidates.png"), "0"))
    }
    found = inputs(stage, records, {"image": tmp_path})
    assert list(found) == ["image/image.png", "image/more-1.png", "image/more-2.png"]
    assert found["image/image.png"] == tmp_path / "image.png"
    with pytest.raises(SlipcastError, match=r"stage lift opens image/candidates\.png, which it does not say"):
        found["image/candidates.png"]
    assert isinstance(found, Inputs)


def test_a_missing_input_is_a_sentence_with_the_command_that_makes_it(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "runs")
    run = workshop.make().run
    (run / "10-image" / "image.txt").unlink()
    with pytest.raises(SlipcastError) as caught:
        workshop.make(from_stage="lift")
    assert str(caught.value) == (
        f"stage lift needs image.txt of stage image, which is not in {run / '10-image'}; "
        f"`slipcast make --resume {run} --from image` makes it again"
    )


@pytest.mark.parametrize("index", range(len(STAGES)), ids=lambda index: STAGES[index].name)
def test_every_need_of_the_table_is_given_by_an_earlier_stage(index: int) -> None:
    if STAGES[index].needs:
        check_needs(STAGES[index], STAGES[:index])


def test_a_need_that_nobody_gives_is_refused() -> None:
    stage = Stage("count", "15-count", lambda ctx: {}, needs=("image/sketch.png",))
    with pytest.raises(BadInput, match=r"one or more of image/image\.png.*not image/sketch\.png"):
        check_needs(stage, STAGES)


def test_what_others_wrote_into_a_manifest_survives(tmp_path: Path) -> None:
    """A studio may note a rating, a newer version what this one does not know."""
    workshop = Workshop(tmp_path / "runs")
    path = workshop.make().run / "manifest.json"
    told = json.loads(path.read_text())
    told["rating"], told["stages"]["mesh"]["seen"] = {"stars": 4}, True
    path.write_text(json.dumps(told))
    workshop.make(load_config("starter", ["mesh.resolution=32"]))
    now = json.loads(path.read_text())
    assert now["rating"] == {"stars": 4} and now["stages"]["mesh"]["seen"] is True
    assert now["stages"]["mesh"]["key"] != told["stages"]["mesh"]["key"]


def test_a_manifest_is_written_as_it_is_read(old_run: Path, tmp_path: Path) -> None:
    for run in (old_run, Workshop(tmp_path / "runs").make().run):
        told = json.loads((run / "manifest.json").read_text())
        assert read_manifest(run).as_json() == told
    forced = {
        "format": 1,
        "prompt": "a cup",
        "seed": 1,
        "stages": {},
        "forced": {"from": "lift", "done": ["lift"]},
    }
    assert Manifest.from_json(forced).as_json() == forced


@pytest.mark.parametrize(("written", "kept"), [(8.5, False), (3.0, True)])
def test_guidance_inside_that_nobody_asked_for_is_null_in_runs_of_before(
    written: float, kept: bool, tmp_path: Path
) -> None:
    """Its default was 8.5 until it became the family's own; as a wish it would change every key."""
    run = Workshop(tmp_path / "runs").make().run
    told = json.loads((run / MANIFEST).read_text())
    told["config"]["embedded_guidance"] = written
    del told["config"]["lift"]["keep"]
    (run / MANIFEST).write_text(json.dumps(told))
    assert asked_of(run).config.embedded_guidance == (written if kept else None)
    told["config"]["lift"]["keep"] = 1  # a run of today: 8.5 is what was asked for
    (run / MANIFEST).write_text(json.dumps(told))
    assert asked_of(run).config.embedded_guidance == written


def test_files_in_folders_of_a_lifts_own_are_no_chosen_picture() -> None:
    lift = StageRecord(
        "key", {"field.safetensors": "a", "pictures/1.png": "b", "picture.png": "c"}, {}, 1.0, 1.0
    )
    refine = next(stage for stage in STAGES if stage.name == "refine")
    assert set(given(refine, {"lift": lift})) == {"lift/field.safetensors", "lift/picture.png"}


def test_optional_needs_do_not_count_in_the_keys_of_old() -> None:
    """Versions up to 0.1 hashed all that the stages before had made: of paint those are image and mesh, not lift."""
    paint = next(stage for stage in STAGES if stage.name == "paint")
    made = {
        name: StageRecord("key", outputs, {}, 1.0, 1.0)
        for name, outputs in {
            "image": {"image.png": "a"},
            "mesh": {"mesh.safetensors": "b"},
            "lift": {"field.safetensors": "c"},
        }.items()
    }
    config = load_config("starter")
    with_lift = stage_keys(paint, "a cup", 0, config, made, {})
    without = stage_keys(paint, "a cup", 0, config, {k: v for k, v in made.items() if k != "lift"}, {})
    assert with_lift == without
