"""Runs from a file: what a sweep makes and shares, and what is refused before anything runs."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import fakes.batch_work
import pytest
from fakes.pipeline_stages import FakeModels
from typer.testing import CliRunner, Result

from slipcast.configs.errors import BadInput
from slipcast.pipeline import dry_run as dry_run_module
from slipcast.pipeline import make as make_module
from slipcast.pipeline.batch import work
from slipcast.pipeline.batch.staged import StagedRun, read_staged
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.stages import table
from slipcast.pipeline.stages.table import STAGES


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def _file(text: str) -> Path:
    Path("vases.yaml").write_text(text)
    return Path("vases.yaml")


def _told(runs: list[StagedRun], *settings: str) -> list[tuple[Any, ...]]:
    def value(run: StagedRun, name: str) -> Any:
        found: Any = run.config
        for part in name.split("."):
            found = getattr(found, part)
        return found

    return [(run.prompt, run.seed, *(value(run, name) for name in settings)) for run in runs]


def test_every_combination_is_a_run() -> None:
    file = _file(
        "prompts: [a vase, a cup]\nrefine.steps: 7\nsweep: {seed: [0, 1], image.domain_weight: [0, 2.5]}\n"
    )
    runs = read_staged(file, overrides=["mesh.resolution=40"])
    combinations = [(p, s, w, 7, 40) for p in ("a vase", "a cup") for s in (0, 1) for w in (0.0, 2.5)]
    assert _told(runs, "image.domain_weight", "refine.steps", "mesh.resolution") == combinations
    assert len({run.folder for run in runs}) == 8 and runs[1].varied == {
        "seed": 0,
        "image.domain_weight": 2.5,
    }
    assert [run.folder.name for run in runs[:3:2]] == ["a-vase-0", "a-vase-1"]


def test_stages_are_fed_from_files_and_passed_over() -> None:
    Path("cup.glb").write_bytes(b"a mesh")
    (run,) = read_staged(
        _file("prompt: a cup\nseed: 3\ninputs: {lift: cup.glb}\nskip: [refine, paint]\nuntil: mesh\n")
    )
    assert (run.config.lift_model, run.config.lift.source) == (
        "mesh",
        "cup.glb",
    ) and run.config.refine.steps == 0
    assert run.config.paint.steps == 0
    assert (run.seed, run.until, run.folder.name) == (3, "mesh", "a-cup-3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\n", "has no prompt; say what to make"),
        ("prompt: a vase\nprompts: [a cup]\n", "prompt: or prompts:, not both"),
        ("prompt: a vase\nseed: x\n", "seed expects a whole number"),
        (
            "prompt: a vase\nrefine.stps: 1\n",
            r"no setting refine.stps \(from vases.yaml\); did you mean refine.steps",
        ),
        (
            "prompt: a vase\nsweep: {refine.stps: [1]}\n",
            r"from sweep in vases.yaml\); did you mean refine.steps",
        ),
        ("prompt: a vase\nsweep: {refine.steps: 1}\n", "in sweep: expects a list of values, not 1"),
        ("prompt: a vase\nsweep: {refine.steps: [1, 1]}\n", "has a value twice"),
        ("prompt: a vase\nsweep: {refine.steps: [1, -1]}\n", "refine.steps"),
        ("prompt: a vase\nskip: [mesh]\n", r"skip: takes a list of refine.*, not \['mesh'\]"),
        ("prompt: a vase\ninputs: {mesh: a.glb}\n", "inputs: takes image: a picture and lift: a mesh"),
        ("prompt: a vase\ninputs: {lift: a.glb}\n", "there is no file a.glb"),
        ("prompt: a vase\nconfig: none\n", "there is no preset 'none'"),
        ("- a vase\n", "should hold 'setting: value' lines"),
        (
            f"prompt: a vase\nsweep: {{seed: {list(range(200))}, refine.steps: {list(range(100))}}}\n",
            "asks for 20000",
        ),
    ],
)
def test_bad_files_are_refused_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        read_staged(_file(text))
    assert "\n" not in str(caught.value) and not Path("runs").exists()


def test_what_is_swept_is_not_set_from_the_command_line() -> None:
    with pytest.raises(BadInput, match=r"refine.steps is swept in vases.yaml"):
        read_staged(_file("prompt: a vase\nsweep: {refine.steps: [1, 2]}\n"), overrides=["refine.steps=3"])


class Inventory(FakeModels):
    """The fakes, as an inventory of what is at hand asks for them."""

    def places(self, name: str) -> list[Path]:
        return [Path(__file__)]

    def named(self, role: str) -> str:
        return "it"


# With fake stages -----------------------------------------------------------------------------------------------


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line with the fake stages of batches; undone afterwards."""
    for name in ("filled_in", "as_began", "_note_threads", "_tell_missing", "reported"):
        if hasattr(make_module, name):
            monkeypatch.setattr(make_module, name, getattr(make_module, name))
    monkeypatch.setattr(table, "all_stages", table.all_stages)
    monkeypatch.setattr(work, "make_job", work.make_job)
    fakes.batch_work.without_torch()
    real = fakes.batch_work.REAL
    monkeypatch.setattr(
        work, "make_job", lambda task, console, shelf: real(task, console, fakes.batch_work.Shelf())
    )


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["run", "vases.yaml", *arguments])


def _ran() -> list[str]:
    log = Path("runs/stages.log")
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return [" ".join(line.split()[:2]) for line in lines]


ALL = [stage.name for stage in STAGES]


def test_a_sweep_shares_stages_and_replaces_nothing(stages: None) -> None:
    _file("prompt: a vase\nsweep: {mesh.resolution: [32, 40], seed: [0, 1]}\n")
    result = _run("--json")
    assert result.exit_code == 0, result.stderr
    runs = json.loads(result.stdout)["runs"]
    folders = [Path(run["run"]).name for run in runs]
    after_refine = ALL[ALL.index("mesh") :]
    assert [len(name) for name in folders] == [8, 8, 17, 17] and len(set(folders)) == 4
    assert _ran() == [
        f"{folder} {stage}"
        for folder, names in zip(folders, [ALL, ALL, after_refine, after_refine], strict=True)
        for stage in names
    ]
    before = {path: path.read_bytes() for path in Path("runs").glob("*/*/made.txt")}
    assert len({data for path, data in before.items() if "mesh" in str(path)}) == 4
    assert all(Path(run["run"], "run.yaml").read_text() == Path("vases.yaml").read_text() for run in runs)
    # Once more, and with another sweep: what is there stays.
    assert _run().exit_code == 0 and _ran() == []
    _file("prompt: a vase\nrefine.steps: 3\n")
    assert _run().exit_code == 0
    assert {line.split()[1] for line in _ran()} == set(ALL[ALL.index("refine") :])
    assert {path: path.read_bytes() for path in before} == before


def test_a_dry_run_makes_nothing_and_tells_what_is_there(
    stages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("filled_in", "as_began"):
        monkeypatch.setattr(dry_run_module, name, getattr(make_module, name))
    pretended: Any = {"stages": table.all_stages(), "open_models": lambda config: Inventory()}
    plan = partial(dry_run_module.dry_run, **pretended)
    monkeypatch.setattr(dry_run_module, "dry_run", plan)
    _file("prompt: a vase\nsweep: {seed: [0, 1]}\n")

    def runs(*options: str) -> list[list[str]]:
        result = _run("--dry-run", "--json", *options)
        assert result.exit_code == 0, result.stderr
        told = json.loads(result.stdout)["runs"]
        return [[stage["name"] for stage in run["stages"] if stage["runs"]] for run in told]

    assert runs() == [ALL, ALL] and not Path("runs").exists()
    assert _run("--until", "lift").exit_code == 0
    assert runs() == [ALL[2:], ALL[2:]] and runs("--until", "lift") == [[], []]
    assert runs("--from", "lift", "--until", "lift") == [["lift"], ["lift"]]
    lines = _run("--dry-run").stdout.splitlines()
    assert "seed=0" in lines and "seed=1" in lines and any("runs/a-vase-1" in line for line in lines)
    _file("prompt: a vase\nrefine.steps: 3\n")
    assert runs() == [ALL[2:]] and "finished already in runs/a-vase-0, copied" in _run("--dry-run").stdout


def test_from_makes_stages_anew(stages: None) -> None:
    _file("prompt: a vase\nsweep: {mesh.resolution: [32, 40]}\n")
    assert _run().exit_code == 0 and _ran()
    assert _run("--from", "refine").exit_code == 0
    assert [line.split()[1] for line in _ran()] == 2 * ALL[ALL.index("refine") :]
    assert _run("--from", "nowhere").exit_code == 2
