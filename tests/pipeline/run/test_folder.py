"""Laws of a run's folder that hold however it is written: what is finished, what is whole, what a power cut leaves."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.pipeline_stages import Workshop, files_of

from slipcast.configs.schema import MakeConfig, RefineConfig
from slipcast.pipeline.run.stage import StageContext


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # only a power cut tells the difference


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "runs")


def _without(record: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda data: None,
    "empty": lambda data: b"",
    "halved": lambda data: data[: len(data) // 2],
    "not UTF-8": lambda data: b"\xff\xfe" + data,
    "null": lambda data: b"null",
    "a number": lambda data: b"3",
    "a list": lambda data: b"[" + data + b"]",
    "an empty object": lambda data: b"{}",
    "without its key": lambda data: json.dumps(_without(json.loads(data), "key")).encode(),
    "without outputs": lambda data: json.dumps(_without(json.loads(data), "outputs")).encode(),
    "with outputs that are none": lambda data: json.dumps(json.loads(data) | {"outputs": None}).encode(),
    "with a number for a key": lambda data: json.dumps(json.loads(data) | {"key": 7}).encode(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_stage_with_a_damaged_record_runs_again_and_no_other(workshop: Workshop, damage: str) -> None:
    stage = "lift"
    run = workshop.make().run
    before = files_of(run)
    record = run / workshop.stage(stage).folder / "stage.json"
    data = DAMAGE[damage](record.read_bytes())
    if data is None:
        record.unlink()
    else:
        record.write_bytes(data)
    result = workshop.make()
    assert workshop.ran == [stage] and before.items() <= files_of(run).items()
    assert json.loads(record.read_text())["outputs"] == result.records[stage].outputs
    workshop.make()
    assert workshop.ran == []


def test_a_finished_stages_folder_holds_its_outputs_and_its_record_alone(workshop: Workshop) -> None:
    """What was only of use on the way is neither left nor taken for something that was made."""
    result = workshop.make()
    for name, record in result.records.items():
        folder = result.run / workshop.stage(name).folder
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert there == set(record.outputs) | {"stage.json"}
        assert set(record.outputs) == {f"{name}.txt"} | ({"asset.glb"} if name == "export" else set())


def test_what_is_resumed_is_all_that_was_left(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies while it clears a folder away leaves a part of it, which nobody may go on from."""
    found: list[list[str]] = []

    def leave_two_files_and_stop(ctx: StageContext) -> None:
        found.append(sorted(path.name for path in ctx.folder.iterdir() if not path.name.startswith(".")))
        for name in ("a.bin", "b.bin"):
            (ctx.folder / name).write_bytes(b"half way")
        raise KeyboardInterrupt

    def die_half_way(folder: Path, *arguments: object, **options: object) -> None:
        for path in sorted(Path(folder).rglob("a.bin")):
            path.unlink()
        raise KeyboardInterrupt

    workshop.hooks["refine"] = leave_two_files_and_stop
    with pytest.raises(KeyboardInterrupt):
        workshop.make()
    with pytest.raises(KeyboardInterrupt):
        workshop.make()
    assert found == [[], ["a.bin", "b.bin"]], "the same command goes on"
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", die_half_way)
        workshop.make(MakeConfig(refine=RefineConfig(steps=1)))
    with pytest.raises(KeyboardInterrupt):
        workshop.make()
    assert found[-1] in ([], ["a.bin", "b.bin"])


def test_the_manifest_calls_nothing_finished_that_a_power_cut_could_undo(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder's name and its record are on the disk before the manifest says so."""
    durable: set[str] = set()
    told: list[str] = []
    run = workshop.out / "a-blue-vase-0"

    def sync(handle: int) -> None:
        if run.exists() and os.path.samestat(os.fstat(handle), run.stat()):
            durable.update(path.name for path in run.iterdir() if path.is_dir())

    def replace(source: Any, target: Any, **options: Any) -> None:
        if Path(target).name == "manifest.json":
            for line in json.loads(Path(source).read_text())["stages"].values():
                if line["status"] == "finished":
                    assert line["folder"] in durable
                    told.append(line["folder"])
        rename(source, target, **options)

    rename = os.replace
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    workshop.make()
    assert set(told) == {stage.folder for stage in workshop.stages}
