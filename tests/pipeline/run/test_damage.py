"""Damage in a run: it is noticed, said in a sentence, and costs no more than the stage that it hit."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from fakes.pipeline_stages import Workshop, files_of
from hypothesis import given, settings
from hypothesis import strategies as st

from slipcast.configs.atomic import read_json
from slipcast.configs.errors import BadInput
from slipcast.pipeline.run.folder import older_slug, run_path
from slipcast.pipeline.run.manifest import find_run, read_manifest
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.record import RECORD, StageRecord, read_record, write_record
from slipcast.pipeline.run.stage import StageContext

NO_JSON = {
    "empty": b"",
    "halved": b'{"prompt": "a bl',
    "no text": b"\xff\xfe\x00",
    "NaN": b'{"prompt": NaN}',
    "infinity": b'{"prompt": 1e999}',
    "half a character": b'{"prompt": "\\ud800"}',
    "deep": b"[" * 100_000,
    "deep and closed": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "a long number": b"1" * 5000,
}


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return Workshop(tmp_path / "runs")


@pytest.mark.parametrize("text", NO_JSON.values(), ids=NO_JSON)
def test_no_json_is_a_sentence_in_every_reader(workshop: Workshop, text: bytes) -> None:
    run = workshop.make().run
    for path, read in (
        (run / "manifest.json", lambda: read_manifest(run)),
        (run / "20-lift" / RECORD, lambda: read_record(run / "20-lift")),
        (run / "any.json", lambda: read_json(run / "any.json", "anything")),
    ):
        path.write_bytes(text)
        with pytest.raises(BadInput) as caught:
            read()
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["missing.json", "x" * 300, "."])
def test_what_is_no_file_is_a_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be read as anything"):
        read_json(tmp_path / name, "anything")


@settings(max_examples=40)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text("aé茶🏺"), st.lists))
def test_json_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_json(path, "anything") == content


def test_a_flipped_bit_in_any_byte_of_a_record_is_noticed(tmp_path: Path) -> None:
    facts = {"length": 3, "share": 0.1, "names": ["é", "b"], "by": {"10": None, "9": True}}
    record = StageRecord("k", {"a.txt": "0f" * 32}, facts, 1.5, 20.0, models={"base": {"id": "x"}})
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    whole = (tmp_path / RECORD).read_bytes()
    for i in range(len(whole)):
        (tmp_path / RECORD).write_bytes(whole[:i] + bytes([whole[i] ^ 1 << i % 7]) + whole[i + 1 :])
        with contextlib.suppress(BadInput):  # or a blank for another, which says the same
            assert read_record(tmp_path) == record, f"byte {i}"


@pytest.mark.parametrize(
    "change",
    [{"outputs": ["a"]}, {"outputs": {"a": 1}}, {"facts": 3}, {"key": 1}, {"seconds": "long"}, {"models": {"a": 1}},
     {"surplus": 1}],
)  # fmt: skip
def test_records_without_a_checksum_are_read_but_not_believed(tmp_path: Path, change: dict[str, Any]) -> None:
    content = {"key": "k", "outputs": {"a": "0"}, "facts": {}, "seconds": 1.0, "peak_memory_mb": 1}
    (tmp_path / RECORD).write_text(json.dumps(content))
    assert read_record(tmp_path).outputs == {"a": "0"}
    (tmp_path / RECORD).write_text(json.dumps(content | change))
    with pytest.raises(BadInput, match="is not the record of a finished stage"):
        read_record(tmp_path)


def test_a_damaged_record_runs_its_stage_again_and_loses_nothing(workshop: Workshop) -> None:
    run = workshop.make().run
    before, path = files_of(run), run / "20-lift" / RECORD
    path.write_bytes(path.read_bytes().replace(b'"resumed": false', b'"resumed": true'))
    console = Quiet()
    workshop.make(console=console)
    assert workshop.ran == ["lift"]
    assert "its checksum does not fit" in console.notices[0] and "\n" not in console.notices[0]
    now = files_of(run)
    assert now.pop("20-lift.kept/lift.txt") == before["20-lift/lift.txt"]  # nobody can vouch for it any more
    assert now == before
    path.write_text("[]")
    with pytest.raises(BadInput, match="--from needs stage lift finished"):
        workshop.make(from_stage="mesh")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "written by a newer slipcast"),
        ({"format": "x"}, "its format is 'x'"),
        ({"prompt": 3}, "its prompt is no text"),
        ({"prompt": None}, "its prompt is no text"),
        ({"seed": "0"}, "its seed is no whole number"),
        ({"seed": True}, "its seed is no whole number"),
        ({"seed": -1}, "its seed is no whole number"),
        ({"seed": 2**63}, "its seed is no whole number"),
        ({"seed": 0.5}, "its seed is no whole number"),
        ({"stages": []}, "its stages are no objects"),
        ({"stages": {"mesh": 3}}, "its stages are no objects"),
        ({"stages": {"mesh": {"models": [1]}}}, "the models or facts of a stage are no objects"),
        ({"stages": {"mesh": {"models": {"base": "x"}}}}, "the models or facts of a stage are no objects"),
        ({"stages": {"mesh": {"status": 4}}}, "the status of a stage is no text"),
        ({"stages": {"mesh": {"seconds": "long"}}}, "the time or memory of a stage is no number"),
        ({"threads": "two"}, "its threads are no whole number"),
        ({"config": "x"}, "its settings are no object"),
        ({"config": {"dtype": 3}}, "its settings are no object"),
        ({"config": {"device": None}}, "its settings are no object"),
        ({"forced": 1}, "its note of --from"),
        ({"forced": {"from": "lift", "done": 3}}, "its note of --from"),
    ],
)
def test_a_manifest_of_other_types_is_refused_before_anything_runs(
    workshop: Workshop, change: dict[str, Any], said: str
) -> None:
    run = workshop.make().run
    told = json.loads((run / "manifest.json").read_text()) | change
    (run / "manifest.json").write_text(json.dumps(told))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    with pytest.raises(BadInput, match=said):
        workshop.make()
    assert workshop.ran == []
    assert all(path.read_bytes() == content for path, content in before.items())


def test_from_forgets_what_was_half_done(workshop: Workshop) -> None:
    seen: list[bool] = []

    def leave_a_checkpoint(ctx: StageContext) -> None:
        checkpoint = ctx.folder / "checkpoint"
        seen.append(checkpoint.exists())
        checkpoint.write_bytes(b"garbage")
        raise KeyboardInterrupt

    workshop.hooks["refine"] = leave_a_checkpoint
    for first in (None, None, "refine", "refine", "lift"):
        with pytest.raises(KeyboardInterrupt):
            workshop.make(from_stage=first)
    # A stopped --from goes on where it was when it is given again.
    assert seen == [False, True, False, True, False]


def test_a_key_that_is_no_text_means_another_attempt(workshop: Workshop) -> None:
    run = workshop.make(until_stage="lift").run
    (run / "30-refine.partial").mkdir()
    (run / "30-refine.partial" / ".key").write_bytes(b"\xff\xfe")
    assert "refine" in workshop.make().made


def test_runs_that_older_versions_named_are_found(workshop: Workshop) -> None:
    run = workshop.make(prompt="A blue vase!").run
    older = run.rename(workshop.out / f"{older_slug('A blue vase!')}-0")
    assert older.name == "a-blue-vase-0"
    assert workshop.make(prompt="A blue vase!").run == older and workshop.ran == []
    for prompt, seed in (("A blue vase", 0), ("a blue-vase", 0), ("A blue vase!", 1)):
        assert run_path(workshop.out, prompt, seed) != older
    (older / "manifest.json").write_text("{")
    assert run_path(workshop.out, "A blue vase!", 0) == run


@pytest.mark.parametrize("place", [Path("x" * 300), Path("a") / ("茶" * 200)])
def test_names_that_no_file_system_takes_are_bad_input(workshop: Workshop, place: Path) -> None:
    for call in (lambda: workshop.make(out=workshop.out / place), lambda: find_run(workshop.out / place)):
        with pytest.raises(BadInput, match="File name too long"):
            call()
    assert workshop.ran == []


def test_another_number_of_threads_is_written_down_and_said(workshop: Workshop) -> None:
    import torch

    def stop(ctx: StageContext) -> None:
        raise KeyboardInterrupt

    workshop.hooks["refine"] = stop
    with pytest.raises(KeyboardInterrupt):
        workshop.make()
    workshop.hooks.clear()
    run, threads = workshop.out / "a-blue-vase-0", torch.get_num_threads()
    assert read_manifest(run).threads == threads
    torch.set_num_threads(threads + 1)
    try:
        console = Quiet()
        workshop.make(console=console)
        (said,) = console.notices
        assert f"made with {threads} threads so far and goes on with {threads + 1}" in said
        assert read_manifest(run).threads == threads + 1
    finally:
        torch.set_num_threads(threads)
    console = Quiet()
    workshop.make(console=console)
    assert console.notices == []  # nothing is computed, so nothing can differ
