"""``slipcast make --resume RUN``: the run says what it was asked for, wherever its folder lies now."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest
from fakes.pipeline_stages import Workshop, files_of
from typer.testing import CliRunner, Result

from slipcast.configs.loading import load_config, restore_config
from slipcast.pipeline import make as make_module
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.run.manifest import asked_of
from slipcast.pipeline.run.stage import StageContext

PROMPT = 'a "red" $HOME bowl, it\'s `big`'
SETTINGS = (
    "device=cpu",
    "refine.steps=7",
    "image.view=seen from the front: [close]",
    "export.formats=[glb,obj]",
    "export.lods=[0.5,0.1]",
    "mesh.threshold=35.5",
    "dtype=float32",
)


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    fake = Workshop(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(
        make_module, "make", lambda prompt, config, **options: fake.make(config, prompt, **options)
    )
    return fake


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def _stopped(workshop: Workshop, where: str = "refine") -> Path:
    """A run with settings of its own, stopped in a stage."""

    def stop(ctx: StageContext) -> None:
        raise KeyboardInterrupt

    workshop.hooks[where] = stop
    assert _run("make", PROMPT, *SETTINGS, "--seed", 5, "--config", "smoke").exit_code == 130
    workshop.hooks.clear()
    (run,) = Path("runs").iterdir()
    return run


def test_it_goes_on_with_prompt_seed_and_settings_of_the_run(workshop: Workshop, tmp_path: Path) -> None:
    run = _stopped(workshop)
    told = json.loads(_run("make", "--resume", run, "--json").stdout)
    assert workshop.ran == ["refine", "mesh", "paint", "export"]
    assert (told["prompt"], told["seed"], told["run"]) == (PROMPT, 5, str(run))
    asked = asked_of(run)
    assert (asked.prompt, asked.seed, asked.run) == (PROMPT, 5, run)
    assert asked.config == load_config("smoke", SETTINGS)
    whole = Workshop(tmp_path / "whole").make(load_config("smoke", SETTINGS), PROMPT, seed=5).run
    assert files_of(run) == files_of(whole)
    assert _run("make", "--resume", run).exit_code == 0 and workshop.ran == []


@pytest.mark.parametrize("place", ["q q", "-x", "it's $HOME", "elsewhere/deep/花瓶"])
def test_a_moved_and_renamed_run_goes_on_where_it_is(workshop: Workshop, place: str) -> None:
    run = _stopped(workshop)
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    run = run.rename(place)
    result = _run("make", "--resume", place)
    assert result.exit_code == 0, result.stderr
    assert workshop.ran == ["refine", "mesh", "paint", "export"]
    assert Path(result.stdout.strip()) == run / "50-export" / "asset.glb"
    assert list(Path("runs").iterdir()) == []


def test_the_command_that_export_tells_is_taken_as_it_stands(workshop: Workshop) -> None:
    run = _stopped(workshop, "mesh").rename("q q")
    result = _run("export", run)
    assert result.exit_code == 2 and "has no finished mesh" in result.stderr
    told = shlex.split(result.stderr.split("`")[1])
    assert told[:3] == ["slipcast", "make", "--resume"]
    assert _run(*told[1:]).exit_code == 0 and workshop.ran == ["mesh", "paint", "export"]


def test_overrides_come_on_top_and_stay(workshop: Workshop) -> None:
    run = _stopped(workshop)
    assert _run("make", "--resume", run, "mesh.texture_size=64", "refine.steps=9").exit_code == 0
    config = asked_of(run).config
    assert (config.mesh.texture_size, config.refine.steps, config.export.lods) == (64, 9, [0.5, 0.1])
    assert _run("make", "--resume", run, "--from", "mesh", "--until", "mesh").exit_code == 0
    assert workshop.ran == ["mesh"]


def test_a_path_inside_the_run_leads_to_it(workshop: Workshop) -> None:
    run = _stopped(workshop)
    assert _run("make", "--resume", run / "10-image" / "image.txt").exit_code == 0
    assert workshop.ran == ["refine", "mesh", "paint", "export"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a blue vase"], "--resume takes the prompt from"),
        (["--seed", "0"], "leave --seed out"),
        (["--config", "starter"], "leave --config out"),
        (["--out", "runs"], "leave --out out"),
        (["refine.stps=3"], "did you mean refine.steps?"),
    ],
)
def test_what_the_run_knows_itself_is_not_given(workshop: Workshop, arguments: list[str], said: str) -> None:
    run = _stopped(workshop)
    workshop.ran.clear()
    result = _run("make", "--resume", run, *arguments)
    assert result.exit_code == 2 and said in result.stderr and "Traceback" not in result.stderr
    assert workshop.ran == []


@pytest.mark.parametrize("place", ["nowhere", "runs", ".", "x" * 300])
def test_what_is_no_run_is_a_sentence(workshop: Workshop, place: str) -> None:
    _stopped(workshop)
    workshop.ran.clear()
    result = _run("make", "--resume", place)
    assert result.exit_code == 2 and workshop.ran == []
    assert len([line for line in result.stderr.splitlines() if line.startswith("slipcast: ")]) == 1
    assert "unexpectedly" not in result.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": "\x1b[2J"}, "U+001B"),
        ({"config": {"refine": {"steps": "many"}}}, "expects a whole number, not 'many'"),
        ({"config": {"refine": 3}}, "refine (from"),
        ({"config": {"refined": {"steps": 3}}}, "there is no setting refined"),
        ({"config": {"refine": {"steps": -3}}}, "refine.steps expects at least"),
    ],
)
def test_a_manifest_that_cannot_be_asked_again_is_a_sentence(
    workshop: Workshop, change: dict[str, object], said: str
) -> None:
    run = _stopped(workshop)
    workshop.ran.clear()
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | change))
    result = _run("make", "--resume", run)
    assert result.exit_code == 2 and said in result.stderr and workshop.ran == []


@pytest.mark.parametrize("preset", ["starter", "smoke"])
def test_settings_come_back_from_json_as_they_were(preset: str) -> None:
    config = load_config(preset, SETTINGS)
    assert restore_config(json.loads(json.dumps(asdict(config))), source="a manifest") == config


def test_neither_prompt_nor_run_is_bad_input(workshop: Workshop) -> None:
    result = _run("make")
    assert (
        result.exit_code == 2
        and 'make expects a prompt, such as "a blue vase", a --picture, or --resume RUN' in result.stderr
    )
