"""``make --dry-run``: what it says, that it is what ``make`` then does, and that it makes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.pipeline_stages import PROMPT, FakeModels, Workshop
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.configs.schema import MakeConfig
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.dry_run import DryRun, dry_run
from slipcast.pipeline.run.estimate import README, earlier_runs, estimate
from slipcast.pipeline.run.manifest import read_manifest
from slipcast.pipeline.run.measure import machine
from slipcast.pipeline.stages.table import STAGES


class Store(FakeModels):
    """The fakes, as an inventory asks for them; roles in ``gone`` are not at hand."""

    gone: tuple[str, ...] = ()

    def identities(self, roles: Any) -> dict[str, dict[str, Any]]:
        for role in roles:
            if role in self.gone:
                raise BadInput(f"{role} is not on this machine; `slipcast fetch it` downloads it")
        return super().identities(roles)

    def places(self, name: str) -> list[Path]:
        return [Path(__file__)]

    def named(self, role: str) -> str:
        return "it"

    def networks(self, role: str) -> dict[str, str]:
        return {}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    shop = Workshop(tmp_path / "runs")
    shop.models = Store()
    return shop


def told(workshop: Workshop, config: MakeConfig | None = None, **options: Any) -> DryRun:
    options = {"out": workshop.out, "stages": workshop.stages} | options
    options["open_models"] = lambda config: workshop.models
    return dry_run(PROMPT, config or MakeConfig(), **options)


def would_run(plan: DryRun) -> list[str]:
    return [one.name for one in plan.stages if one.runs]


def test_of_a_new_run_every_stage_runs_and_nothing_is_made(workshop: Workshop) -> None:
    plan = told(workshop)
    assert would_run(plan) == [stage.name for stage in STAGES]
    assert {one.why for one in plan.stages} == {"not made yet"} and not workshop.out.exists()


@pytest.mark.parametrize(
    ("settings", "options", "first", "why"),
    [
        (["mesh.resolution=32"], {}, "mesh", "mesh.resolution is 32, was 192"),
        (["domain_strength=0.5"], {}, "image", "domain_strength is 0.5, was 1.0"),
        ([], {"from_stage": "refine"}, "refine", "asked for anew (--from)"),
        (["image.control_scale=2"], {}, "image", "image.control_scale is 2.0, was 1.0"),
    ],
)
def test_it_says_what_make_then_does_and_why(
    workshop: Workshop, settings: list[str], options: dict, first: str, why: str
) -> None:
    workshop.make(load_config("starter"))
    files = {path: path.read_bytes() for path in workshop.out.rglob("*") if path.is_file()}
    config = load_config("starter", settings)
    plan = told(workshop, config, **options)
    runs = would_run(plan)
    assert runs[0] == first
    assert next(one.why for one in plan.stages if one.runs) == why
    assert files == {path: path.read_bytes() for path in workshop.out.rglob("*") if path.is_file()}
    workshop.make(config, **options)
    assert workshop.ran[0] == first and set(workshop.ran) <= set(runs)
    assert would_run(told(workshop, config)) == []


def test_a_changed_file_and_other_weights_are_told(workshop: Workshop) -> None:
    run = workshop.make().run
    (run / "20-lift" / "lift.txt").write_text("cut")
    (why, *_) = [one.why for one in told(workshop).stages if one.runs]
    assert why == "files of it are gone or changed: lift.txt"
    workshop.make()
    workshop.models.revision = "2"
    assert told(workshop).stages[0].why == "another base, another domain"


def test_without_a_model_it_says_which_and_what_cannot_be_said(workshop: Workshop) -> None:
    workshop.make()
    workshop.models.gone = ("lift_model",)  # pyright: ignore[reportAttributeAccessIssue]
    plan = told(workshop)
    assert [(one.name, one.runs) for one in plan.stages[:2]] == [("image", False), ("lift", True)]
    assert plan.stages[1].why == "whether it is finished cannot be said without lift_model"
    (absent,) = [one for one in plan.models if one.problem]
    assert absent.role == "lift_model" and "slipcast fetch it" in (absent.problem or "")


def test_the_command_names_size_licence_and_the_fetch_of_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["make", "a red cup", "--base", "sd15", "--device", "cpu", "--dry-run"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    models = {one["role"]: one for one in plan["models"]}
    assert models["base"]["fetch"] == "slipcast fetch sd15" and models["base"]["size"] == 2132 * 10**6
    assert models["base"]["licence"] == "creativeml-openrail-m" and "domain" not in models
    assert models["lift_model"]["problem"] is None and models["lift_model"]["size"] > 10**6
    assert plan["seconds"] > 60 and list(tmp_path.iterdir()) == []
    shown = CliRunner().invoke(app, arguments).stdout
    assert "sd15, about 2,132.0 MB" in shown and "not at hand; `slipcast fetch sd15`" in shown
    assert "a count of its networks' operations" in shown


@pytest.mark.parametrize("option", ["--lora", "--embedding"])
def test_several_of_a_kind_may_be_absent_as_one_may(tmp_path: Path, option: str) -> None:
    gone = [str(tmp_path / name) for name in ("one.safetensors", "two.safetensors")]
    arguments = [
        "make",
        "a cup",
        "--dry-run",
        "--json",
        "--out",
        str(tmp_path),
        option,
        gone[0],
        option,
        gone[1],
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    (absent,) = [one for one in json.loads(result.stdout)["models"] if one["problem"]]
    assert absent["name"] == " + ".join(gone) and gone[0] in absent["problem"]


def test_times_are_of_this_machines_runs_with_the_same_models_or_the_readmes(workshop: Workshop) -> None:
    config = load_config("starter", ["device=cpu", "dtype=float32"])
    run = workshop.make(config).run
    settled = replace(config, image=replace(config.image, steps=50))
    stage = workshop.stage("image")
    runs = earlier_runs(workshop.out, machine())
    line, threads = runs[0][0].stages["image"], read_manifest(run).threads
    assert line.seconds is not None and threads is not None and len(runs) == 1
    line.seconds = 3.0
    found = estimate(stage, settled, threads, runs)
    assert found.seconds == 6.0  # twice the steps
    assert found.basis.startswith("median of 1 earlier run of this machine with other settings")
    other = estimate(stage, settled, threads + 1, runs)
    assert other.seconds == pytest.approx(2 * README["image"][0], abs=0.1) and "README" in other.basis
    counted = estimate(stage, replace(settled, base="sd15"), threads, runs)
    assert counted.basis.startswith("a count") and (counted.seconds or 0) > 10
    assert estimate(stage, replace(settled, base="someone/else"), threads, runs).seconds is None
    assert earlier_runs(workshop.out, machine() | {"cores": 99}) == []


def test_what_make_refuses_it_refuses(workshop: Workshop) -> None:
    workshop.make()
    with pytest.raises(BadInput, match="--from expects"):
        told(workshop, from_stage="paint-it")
    with pytest.raises(BadInput, match="finished in"):
        told(workshop, from_stage="mesh", seed=7)
