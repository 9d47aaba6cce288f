"""Laws of the run folder: what runs again, what does not, and what survives a stop."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
from fakes.pipeline_stages import PROMPT, Workshop, files_of

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.configs.schema import ImageConfig, MakeConfig, MeshConfig, RefineConfig
from slipcast.pipeline.run import folder as runs
from slipcast.pipeline.run.folder import open_run
from slipcast.pipeline.run.keys import stage_keys
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import ROLES, Stage, StageContext
from slipcast.pipeline.stages import table
from slipcast.pipeline.stages.table import STAGES

ALL = ["image", "lift", "refine", "mesh", "paint", "export"]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # only a power cut tells the difference


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "runs")


def _stop(ctx: StageContext) -> None:
    raise KeyboardInterrupt


def _status(run: Path) -> dict[str, str]:
    manifest = json.loads((run / "manifest.json").read_text())
    return {name: line["status"] for name, line in manifest["stages"].items()}


def test_all_stages_run_once_and_the_glb_is_the_result(workshop: Workshop) -> None:
    result = workshop.make()
    assert workshop.ran == ALL and result.made == tuple(ALL)
    assert result.primary == workshop.out / "a-blue-vase-0" / "50-export" / "asset.glb"
    assert result.primary.is_file()
    assert sorted(path.name for path in result.run.iterdir() if path.is_dir()) == [s.folder for s in STAGES]


def test_a_finished_stage_never_runs_again(workshop: Workshop) -> None:
    first = files_of(workshop.make().run)
    result = workshop.make()
    assert workshop.ran == [] and result.made == ()
    assert files_of(result.run) == first
    assert result.primary.is_file()


def test_a_changed_setting_runs_again_from_there_on(workshop: Workshop) -> None:
    workshop.make()
    workshop.make(MakeConfig(mesh=MeshConfig(texture_size=64)))
    assert workshop.ran == ["mesh", "paint", "export"]
    workshop.make(MakeConfig(mesh=MeshConfig(texture_size=64), refine=RefineConfig(steps=1)))
    assert workshop.ran == ["refine", "mesh", "paint", "export"]


def test_a_stage_that_makes_the_same_files_again_stops_the_wave(workshop: Workshop) -> None:
    """The image stage runs for its new setting, writes the same file, and so nothing after it needs to run."""
    constant = tuple(
        replace(stage, function=_write_constant) if stage.name == "image" else stage
        for stage in workshop.stages
    )
    workshop.make(stages=constant)
    result = workshop.make(MakeConfig(image=ImageConfig(steps=3)), stages=constant)
    assert result.made == ("image",)
    assert set(_status(result.run).values()) == {"finished"}


def _write_constant(ctx: StageContext) -> dict[str, str]:
    (ctx.folder / "image.txt").write_text("always the same")
    return {}


def test_book_keeping_settings_run_nothing_again(workshop: Workshop) -> None:
    workshop.make(MakeConfig(refine=RefineConfig(checkpoint_every=50)))
    workshop.make(MakeConfig(refine=RefineConfig(checkpoint_every=7)))
    assert workshop.ran == []


def test_changed_weights_run_again_the_stages_that_use_them(workshop: Workshop) -> None:
    workshop.make()
    workshop.models.revision = "2"
    workshop.make()
    # The fakes write the same files with other weights, so the stages without a model stand.
    assert workshop.ran == ["image", "lift", "refine", "paint", "export"]


def test_a_setting_read_from_another_stage_counts(workshop: Workshop) -> None:
    """Refinement puts its reference camera at the picture's elevation, which the picture itself may not show."""
    stage, config = workshop.stage("refine"), MakeConfig()
    raised = MakeConfig(image=ImageConfig(elevation_deg=30.0))
    assert stage.settings(config) != stage.settings(raised)


def test_a_missing_model_is_told_before_any_work_is_done(workshop: Workshop) -> None:
    def refuse(roles: Sequence[str]) -> dict:
        asked.append(tuple(roles))
        raise BadInput("no such model")

    asked: list[tuple[str, ...]] = []
    workshop.models.identities = refuse  # type: ignore[method-assign]
    with pytest.raises(BadInput, match="no such model"):
        workshop.make()
    assert workshop.ran == [] and not workshop.out.exists()
    assert asked == [tuple(sorted(ROLES))]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_table_declares_all_that_a_stage_looks_at(stage: Stage) -> None:
    """Read from the source: whatever a stage looks at must be in its key, or a change would not run it again."""
    source = (Path(table.__file__).parent / f"{stage.name}.py").read_text(encoding="utf-8")
    inputs = set(re.findall(r"ctx\.inputs\[\"([\w/.*-]+)\"\]", source))
    settings = set(re.findall(r"ctx\.config\.(\w+(?:\.\w+)?)", source))
    models = set(re.findall(r"ctx\.models\.(\w+)", source)) - {"identities"}
    if "model" in stage.roles:  # which of them is used is known by its identity
        settings.discard("model")
    if stage.name in ("image", "refine", "paint"):
        settings.update(table._GUIDED)  # what the guided denoiser is made with
    if stage.name == "refine":
        settings.discard("image.picture")  # which decides what is said, not what is made
    if stage.name == "paint":  # as the picture was drawn
        settings = (settings - {"image"}) | set(table._AS_DRAWN)
    if stage.name == "lift":
        settings.add("device")  # where its network computes
    if "chosen_picture(ctx)" in source and stage.name != "lift":  # in which both files are named
        inputs |= {"image/image.png", "lift/picture.png"}
    assert all(any(name == need or fnmatchcase(name, need) for need in stage.needs) for name in inputs)
    assert inputs >= {name for name in stage.needs if "*" not in name}
    assert {name for name in settings if name.split(".")[0] != stage.name} == set(stage.reads)
    roles = {
        "lift": "lift_model",
        "custom": "model",
        "base_with_loras": "loras",
        "tiny_encoder": "refine.encoder",
    }
    assert {roles.get(name, name) for name in models} <= set(stage.roles)


def test_a_raised_stage_version_runs_it_again(workshop: Workshop) -> None:
    workshop.make()
    workshop.stages = tuple(replace(s, version=99) if s.name == "mesh" else s for s in workshop.stages)
    workshop.make()
    assert workshop.ran[0] == "mesh"


@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_damaged_outputs_are_made_again(workshop: Workshop, damage: str) -> None:
    first = workshop.make()
    before = files_of(first.run)
    file = first.run / "20-lift" / "lift.txt"
    if damage == "cut":
        file.write_text(file.read_text()[:-1])
    else:
        file.unlink()
    console = Quiet()
    workshop.make(console=console)
    assert workshop.ran == ["lift"]  # its files come out the same, so the later stages stand
    assert "files of it are gone or changed: lift.txt" in console.notices[0]
    now = files_of(first.run)
    assert now.pop("20-lift.kept/lift.txt", None) == (
        before["20-lift/lift.txt"][:-1] if damage == "cut" else None
    )
    assert now == before


def test_the_key_does_not_depend_on_the_order_of_dictionaries(workshop: Workshop) -> None:
    stage, config = workshop.stage("refine"), MakeConfig()
    records = workshop.make().records
    a, b = {"id": "x", "revision": "1"}, {"revision": "1", "id": "x"}
    keys = {
        stage_keys(stage, PROMPT, 0, config, dict(order), {"base": identity})
        for order in (list(records.items()), list(records.items())[::-1])
        for identity in (a, b)
    }
    assert len(keys) == 1


def test_every_ingredient_of_the_key_counts(workshop: Workshop) -> None:
    stage, config, records = workshop.stage("refine"), MakeConfig(), workshop.make().records
    other_lift = replace(records["lift"], outputs={"lift.txt": "0"})
    keys = [
        key
        for key, _older in [
            stage_keys(stage, PROMPT, 0, config, records, {}),
            stage_keys(replace(stage, version=99), PROMPT, 0, config, records, {}),
            stage_keys(stage, "another", 0, config, records, {}),
            stage_keys(stage, PROMPT, 1, config, records, {}),
            stage_keys(stage, PROMPT, 0, MakeConfig(refine=RefineConfig(steps=1)), records, {}),
            stage_keys(stage, PROMPT, 0, config, {**records, "lift": other_lift}, {}),
            stage_keys(stage, PROMPT, 0, config, records, {"base": {"id": "x"}}),
            stage_keys(stage, PROMPT, 0, config, records, {}, {"image.picture": ["0"]}),
        ]
    ]
    assert len(set(keys)) == len(keys)
    elsewhere = MakeConfig(mesh=MeshConfig(texture_size=64), image=ImageConfig(steps=3))
    assert stage_keys(stage, PROMPT, 0, elsewhere, records, {})[0] == keys[0]


@pytest.mark.parametrize("where", ALL)
def test_a_stopped_run_goes_on_and_equals_an_uninterrupted_one(
    workshop: Workshop, where: str, tmp_path: Path
) -> None:
    whole = Workshop(tmp_path / "whole").make().run
    workshop.hooks[where] = _stop
    with pytest.raises(KeyboardInterrupt):
        workshop.make()
    assert workshop.ran == ALL[: ALL.index(where) + 1]
    run = workshop.out / "a-blue-vase-0"
    assert _status(run)[where] == "interrupted"
    assert not (run / workshop.stage(where).folder).exists()
    workshop.hooks.clear()
    workshop.make()
    assert workshop.ran == ALL[ALL.index(where) :]
    assert files_of(run) == files_of(whole)


def test_a_checkpoint_in_the_partial_folder_is_there_again_for_the_same_key_only(workshop: Workshop) -> None:
    seen: list[bool] = []

    def leave_a_checkpoint(ctx: StageContext) -> None:
        checkpoint = ctx.folder / "checkpoint.safetensors"
        seen.append(checkpoint.exists())
        checkpoint.write_bytes(b"half way")
        raise KeyboardInterrupt

    workshop.hooks["refine"] = leave_a_checkpoint
    for config in (MakeConfig(), MakeConfig(), MakeConfig(refine=RefineConfig(steps=1))):
        with pytest.raises(KeyboardInterrupt):
            workshop.make(config)
    assert seen == [False, True, False]


@pytest.mark.parametrize("step", range(14))
def test_a_process_that_dies_while_committing_loses_nothing(
    workshop: Workshop, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop at each file operation of a commit that replaces an older result; the next run must come out whole."""
    lift = workshop.make().run / "20-lift"
    (lift / "notes.md").write_text("somebody's own")
    changed = MakeConfig(lift=replace(MakeConfig().lift, resolution=32))
    calls = 0

    def dying(operation):  # type: ignore[no-untyped-def]
        def wrapped(*arguments, **options):  # type: ignore[no-untyped-def]
            nonlocal calls
            calls += 1
            if calls > step:
                raise KeyboardInterrupt
            return operation(*arguments, **options)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        patch.setattr(runs.shutil, "rmtree", dying(runs.shutil.rmtree))
        patch.setattr(runs, "write_json", dying(runs.write_json))
        with contextlib.suppress(KeyboardInterrupt):
            workshop.make(changed)
    places = [lift, *(lift.with_name(f"20-lift.{part}") for part in ("old", "partial"))]
    assert any((place / "stage.json").is_file() and (place / "lift.txt").is_file() for place in places)
    result = workshop.make(changed)
    expected = Workshop(workshop.out.parent / "whole").make(changed)
    assert files_of(result.run) == files_of(expected.run)
    assert (result.run / "20-lift.kept" / "notes.md").read_text() == "somebody's own"
    made = {stage.folder for stage in STAGES} | {"20-lift.kept"}
    assert {path.name for path in result.run.iterdir() if path.is_dir()} == made


def test_until_stops_there_and_the_rest_goes_on_later(workshop: Workshop) -> None:
    result = workshop.make(until_stage="lift")
    assert workshop.ran == ["image", "lift"]
    assert result.glb is None and result.primary == result.run / "20-lift"
    workshop.make()
    assert workshop.ran == ["refine", "mesh", "paint", "export"]


def test_from_runs_anew_from_there_on(workshop: Workshop) -> None:
    workshop.make()
    workshop.make(from_stage="mesh")
    assert workshop.ran == ["mesh", "paint", "export"]
    workshop.make(from_stage="refine", until_stage="refine")
    assert workshop.ran == ["refine"]


def test_a_stopped_from_goes_on_without_repeating_itself(workshop: Workshop) -> None:
    workshop.make()
    workshop.hooks["mesh"] = _stop
    with pytest.raises(KeyboardInterrupt):
        workshop.make(from_stage="lift")
    workshop.hooks.clear()
    workshop.make(from_stage="lift")
    assert workshop.ran == ["mesh", "paint", "export"]
    workshop.make(from_stage="lift")
    assert workshop.ran == ["lift", "refine", "mesh", "paint", "export"]


def test_from_takes_edited_files_and_keeps_them(workshop: Workshop) -> None:
    run = workshop.make().run
    picture = run / "10-image" / "image.txt"
    picture.write_text("painted over by hand")
    result = workshop.make(from_stage="lift")
    assert workshop.ran == ["lift", "refine", "mesh", "paint", "export"]
    assert "painted over by hand" in (run / "20-lift" / "lift.txt").read_text()
    assert result.records["image"].edited
    workshop.make()
    assert workshop.ran == [] and picture.read_text() == "painted over by hand"


def test_from_without_the_stages_before_it_says_so(workshop: Workshop) -> None:
    with pytest.raises(BadInput, match="--from needs stage image finished"):
        workshop.make(from_stage="lift")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"from_stage": "bake"},
            "--from expects one of image, lift, refine, mesh, paint, export, not 'bake'",
        ),
        ({"until_stage": "bake"}, "--until expects"),
        ({"from_stage": "mesh", "until_stage": "lift"}, "nothing to run"),
    ],
)
def test_stage_names_are_checked_before_anything_is_made(
    workshop: Workshop, options: dict, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        workshop.make(**options)
    assert not workshop.out.exists()


def test_another_prompt_is_refused_in_the_same_folder(workshop: Workshop) -> None:
    run = workshop.make().run
    before = files_of(workshop.out)
    with pytest.raises(BadInput, match="run of another prompt"):
        workshop.make(prompt="A blue, vase!", resume=run)
    assert files_of(workshop.out) == before


def test_another_seed_has_its_own_folder_and_numbers(workshop: Workshop) -> None:
    a, b = workshop.make(seed=0), workshop.make(seed=1)
    assert a.run != b.run
    assert files_of(a.run) != files_of(b.run)


@pytest.mark.parametrize("text", ["{", "[]", '{"stages": 3}', ""])
def test_an_unreadable_manifest_is_one_clear_sentence(workshop: Workshop, text: str) -> None:
    run = workshop.make().run
    (run / "manifest.json").write_text(text)
    with pytest.raises(BadInput, match=r"manifest.*delete"):
        workshop.make()
    (run / "manifest.json").unlink()
    workshop.make()
    assert workshop.ran == []  # the advice holds: the finished stages were kept


def test_an_out_that_is_a_file_is_refused(workshop: Workshop) -> None:
    workshop.out.write_text("I am a file")
    with pytest.raises(BadInput, match="is a file, not a folder"):
        workshop.make()


def test_a_full_disk_in_a_stage_is_a_sentence_with_the_path(workshop: Workshop) -> None:
    def fill(ctx: StageContext) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(ctx.folder / "big.bin"))

    workshop.hooks["refine"] = fill
    with pytest.raises(
        SlipcastError, match=r"stage refine failed at .*big\.bin: No space left on device; make room"
    ):
        workshop.make()
    workshop.hooks.clear()
    workshop.make()
    assert workshop.ran == ["refine", "mesh", "paint", "export"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_a_sentence(
    workshop: Workshop, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(SlipcastError, match=os.strerror(code)) as caught:
            workshop.make()
    assert str(workshop.out) in str(caught.value) and "\n" not in str(caught.value)


def test_a_full_disk_while_writing_the_manifest_keeps_the_finished_stages(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(ctx: StageContext) -> None:
        patch.setattr(runs, "write_json", refuse)
        raise ValueError("broken")

    def refuse(path: Path, content: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        workshop.hooks["lift"] = fill
        with pytest.raises(SlipcastError, match="stage lift failed") as caught:
            workshop.make()
    assert "No space left" in caught.value.__notes__[0]
    workshop.hooks.clear()
    workshop.make()
    assert workshop.ran == ALL[1:]


def test_a_failing_stage_is_named_with_its_reason(workshop: Workshop) -> None:
    def fail(ctx: StageContext) -> None:
        raise ValueError("the field is empty\nsecond line")

    workshop.hooks["mesh"] = fail
    with pytest.raises(SlipcastError) as caught:
        workshop.make()
    assert str(caught.value) == "stage mesh failed (ValueError: the field is empty); --debug shows where"
    manifest = json.loads((workshop.out / "a-blue-vase-0" / "manifest.json").read_text())
    assert manifest["stages"]["mesh"]["error"] == str(caught.value)


def test_a_fact_that_is_no_number_fails_the_stage(workshop: Workshop) -> None:
    broken = replace(workshop.stage("image"), gives=(), function=lambda ctx: {"loss": float("nan")})
    with pytest.raises(SlipcastError, match="stage image measured loss = nan"):
        workshop.make(stages=(broken,))
    broken = replace(broken, function=lambda ctx: {"losses": [1.0, float("inf")]})
    with pytest.raises(SlipcastError, match="stage image returned facts that cannot be written as JSON"):
        workshop.make(stages=(broken,))


def test_a_second_process_is_refused_and_a_dead_ones_lock_is_taken_over(workshop: Workshop) -> None:
    run = workshop.out / "a-blue-vase-0"
    with (
        open_run(run, PROMPT, 0),
        pytest.raises(SlipcastError, match=rf"another slipcast \(process {os.getpid()}\) is working"),
    ):
        workshop.make()
    (run / ".lock").write_text("999999999")  # as a killed process leaves it
    assert workshop.make().primary.is_file()


def test_the_lock_is_given_back_after_a_failure(workshop: Workshop) -> None:
    workshop.hooks["image"] = _stop
    with pytest.raises(KeyboardInterrupt):
        workshop.make()
    workshop.hooks.clear()
    workshop.make()


def test_the_manifest_tells_where_everything_came_from(workshop: Workshop) -> None:
    result = workshop.make()
    manifest = json.loads((result.run / "manifest.json").read_text())
    assert manifest["prompt"] == PROMPT and manifest["seed"] == 0
    assert manifest["config"]["refine"]["steps"] == MakeConfig().refine.steps
    assert manifest["versions"]["torch"] == torch.__version__
    refine = manifest["stages"]["refine"]
    assert refine["models"]["base"] == {"id": "fake-base", "revision": "1", "licence": "CC0"}
    assert refine["seconds"] >= 0 and refine["peak_memory_mb"] > 1
    assert len(refine["outputs"]["refine.txt"]) == 64 and refine["status"] == "finished"


def test_later_results_are_marked_outdated_until_they_are_made_again(workshop: Workshop) -> None:
    workshop.make()
    result = workshop.make(MakeConfig(image=ImageConfig(steps=3)), until_stage="image")
    assert _status(result.run) == {"image": "finished", **dict.fromkeys(ALL[1:], "outdated")}


def test_generators_depend_on_seed_stage_and_step_alone(tmp_path: Path) -> None:
    def draw(seed: int, stage: str, step: int | str) -> float:
        ctx = StageContext(PROMPT, MakeConfig(), tmp_path, {}, seed, stage, Quiet(), None)
        torch.rand(3)  # the global generator must not matter
        return torch.rand(1, generator=ctx.generator(step), dtype=torch.float64).item()

    draws = [
        draw(*which)
        for which in ((0, "lift", 0), (1, "lift", 0), (0, "mesh", 0), (0, "lift", 1), (0, "lift", "a"))
    ]
    assert len(set(draws)) == len(draws)
    assert draw(0, "lift", 0) == draws[0]
