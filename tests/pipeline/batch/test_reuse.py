"""Runs of one folder share finished stages, get folders of their own, and never touch each other's files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.pipeline_stages import PROMPT, Workshop, files_of

from slipcast.configs.schema import ExportConfig, MakeConfig, MeshConfig, RefineConfig
from slipcast.pipeline.batch.placing import Places
from slipcast.pipeline.batch.reuse import clone, sharing
from slipcast.pipeline.stages.table import STAGES

PLAIN = "a-blue-vase-0"
ALL = [stage.name for stage in STAGES]
AFTER = ALL[ALL.index("mesh") :]
CHANGED = MakeConfig(mesh=MeshConfig(resolution=40))


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "runs")


def _share(workshop: Workshop, config: MakeConfig, name: str) -> list[str]:
    """The stages that ran to make this in a folder of its own."""
    workshop.make(config, resume=workshop.out / name, stages=sharing(workshop.stages, workshop.out / PLAIN))
    return list(workshop.ran)


def test_only_what_is_different_is_made(workshop: Workshop) -> None:
    first = files_of(workshop.make().run)
    assert _share(workshop, CHANGED, "a-blue-vase-0-12345678") == AFTER
    shared = workshop.out / "a-blue-vase-0-12345678"
    alone = Workshop(workshop.out.parent / "alone")
    assert files_of(shared) == files_of(alone.make(CHANGED).run), "sharing changed what is made"
    assert files_of(workshop.out / "a-blue-vase-0") == first
    assert _share(workshop, CHANGED, "a-blue-vase-0-12345678") == []


def test_copies_are_files_of_their_own(workshop: Workshop) -> None:
    original = workshop.make().run / "10-image" / "image.txt"
    _share(workshop, CHANGED, "a-blue-vase-0-12345678")
    copy = workshop.out / "a-blue-vase-0-12345678" / "10-image" / "image.txt"
    assert copy.stat().st_ino != original.stat().st_ino and original.stat().st_nlink == 1
    text = original.read_text()
    copy.write_text("edited by hand")
    assert original.read_text() == text


def test_what_was_edited_or_is_another_seeds_is_not_taken(workshop: Workshop) -> None:
    run = workshop.make().run
    (run / "10-image" / "image.txt").write_text("edited by hand")
    # The image runs again and comes out as it was; all that follows from it is taken.
    assert _share(workshop, MakeConfig(), "a-blue-vase-0-12345678") == ["image"]
    workshop.make(seed=1, stages=sharing(workshop.stages, workshop.out / PLAIN))
    assert workshop.ran == ALL


def test_of_two_runs_the_one_that_is_whole_is_taken(workshop: Workshop) -> None:
    run = workshop.make().run
    _share(workshop, CHANGED, "a-blue-vase-0-11111111")
    for stage in ("10-image/image.txt", "20-lift/lift.txt"):
        (run / stage).write_text("edited by hand")
    assert _share(workshop, MakeConfig(mesh=MeshConfig(resolution=50)), "a-blue-vase-0-22222222") == AFTER
    (run / "10-image" / "image.txt").unlink()
    assert _share(workshop, MakeConfig(mesh=MeshConfig(resolution=60)), "a-blue-vase-0-33333333") == AFTER


def test_what_a_stopped_attempt_left_does_not_stay(workshop: Workshop) -> None:
    def stop(ctx: object) -> None:
        raise KeyboardInterrupt

    name = "a-blue-vase-0-12345678"
    workshop.hooks["image"] = stop
    with pytest.raises(KeyboardInterrupt):
        _share(workshop, CHANGED, name)
    (workshop.out / name / "10-image.partial" / "half").mkdir()
    (workshop.out / name / "10-image.partial" / "half" / "step.txt").write_text("half done")
    workshop.hooks.clear()
    workshop.make()
    assert _share(workshop, CHANGED, name) == AFTER
    assert sorted(path.name for path in (workshop.out / name / "10-image").iterdir()) == [
        "image.txt",
        "stage.json",
    ]


def test_names_with_brackets_are_no_patterns(workshop: Workshop, tmp_path: Path) -> None:
    out = tmp_path / "[a]"
    workshop.make(out=out)
    workshop.make(
        CHANGED, resume=out / "a-blue-vase-0-12345678", stages=sharing(workshop.stages, out / PLAIN)
    )
    assert workshop.ran == AFTER


def test_a_clone_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(3_000_000))
    clone(tmp_path / "a", tmp_path / "deep" / "b")
    assert (tmp_path / "deep" / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_places(workshop: Workshop) -> None:
    out, plain, other = workshop.out, MakeConfig(), MakeConfig(refine=RefineConfig(steps=3))
    places = Places(out)
    assert places.folder(PROMPT, 0, plain, "11111111").name == "a-blue-vase-0"
    assert places.folder(PROMPT, 0, other, "22222222").name == "a-blue-vase-0-22222222"
    assert places.folder(PROMPT, 0, plain, "11111111").name == "a-blue-vase-0"
    assert places.folder(PROMPT, 1, other, "22222222").name == "a-blue-vase-1"
    # What lies there decides who is the first, also where ``auto`` was made out.
    workshop.make(other)
    assert Places(out).folder(PROMPT, 0, other, "22222222").name == "a-blue-vase-0"
    assert Places(out).folder(PROMPT, 0, plain, "11111111").name == "a-blue-vase-0-11111111"
    exports = replace(other, export=ExportConfig(formats=["obj"]))
    assert Places(out).folder(PROMPT, 0, exports, "33333333").name == "a-blue-vase-0-33333333"
    (out / "a-blue-vase-0" / "manifest.json").write_text("{")
    assert Places(out).folder(PROMPT, 0, other, "22222222").name == "a-blue-vase-0-22222222"
