"""Presets for models that people bring: each says what it needs before it is here, and how long it takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slipcast.configs.loading import load_config, preset_names
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.run import operations
from slipcast.systems.models.costs import COSTS
from slipcast.systems.models.known import ALIASES

OF_OTHERS = [name for name in preset_names() if name not in ("starter", "smoke")]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_presets_that_people_ask_for_are_there():
    asked = {
        "sd15",
        "sd21",
        "sdxl",
        "sd15-shap-e",
        "dreamfusion-baseline",
        "porcelain-sd15",
        "threestudio-like",
        "prolificdreamer-like",
    }
    assert asked <= set(OF_OTHERS)


@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_preset_says_what_it_needs_and_costs_without_any_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(operations, "gigaflops", lambda device, dtype: 1000.0)
    monkeypatch.chdir(tmp_path)
    told = json.loads(run("make", "a teapot", "--config", name, "--device", "cpu", "--dry-run", "--json"))
    assert all(one["runs"] for one in told["stages"])
    for one in told["models"]:
        if one["name"] in ALIASES:
            assert one["fetch"] == f"slipcast fetch {one['name']}" and one["size"] > 10**7
            assert one["licence"] == ALIASES[one["name"]].licence
    assert told["seconds"] > 60 and told["memory_mb"] > 1000


def test_every_model_that_is_known_by_name_has_its_cost():
    assert set(COSTS) == set(ALIASES)


def test_operations_follow_the_settings():
    plain = load_config("sd15")
    twice = replace(plain, image=replace(plain.image, steps=2 * plain.image.steps))
    cost = COSTS["sd15"]
    decoded = plain.image.candidates * cost.decode
    once = operations.operations("image", plain)
    more = operations.operations("image", twice)
    assert once is not None and more is not None
    assert more - decoded == pytest.approx(2 * (once - decoded))
    assert once == pytest.approx(4 * (50 * 2 * cost.call + cost.decode))
    with_domain = operations.operations("refine", replace(plain, domain="mine"))
    without = operations.operations("refine", plain)
    assert with_domain is not None and without is not None
    assert with_domain - without == pytest.approx(600 * 2 * cost.call)
    refine = replace(plain.refine, score="vsd", vsd_steps=2)
    with_own_model = operations.operations("refine", replace(plain, refine=refine))
    assert with_own_model is not None
    assert with_own_model - without == pytest.approx(600 * 2 * (1 + 3 * 2) * cost.call)
    assert operations.operations("mesh", plain) is None
    assert operations.operations("image", replace(plain, base="somebody/else")) is None
    three = operations.operations("lift", load_config("sd15-shap-e"))
    assert three == pytest.approx(3 * 64 * 2 * COSTS["shap-e"].call)


def test_stable_diffusion_is_counted_anew():
    from benchmarks.model_costs import call_of_unet, parameters_m, sd15, text_encoder, vae

    unet = sd15()
    assert parameters_m(unet) == pytest.approx(859.520964)  # the papers' number
    total = sum(map(parameters_m, (unet, text_encoder(768, 12, 12), vae())))
    assert total == pytest.approx(COSTS["sd15"].parameters_m, abs=0.1)
    assert COSTS["sd15"].megabytes == pytest.approx(2 * total, rel=0.01)
    assert call_of_unet(unet, 64, 768) == pytest.approx(COSTS["sd15"].call, rel=1e-3)


def test_fetching_a_preset_begins_with_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    from slipcast.systems.models import aliases

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    fetched: list[str] = []

    def fetch(name: str, *_: object, **__: object) -> Path:
        fetched.append(name)
        return tmp_path / name

    monkeypatch.setattr(aliases, "fetch", fetch)
    shown = run("fetch", "--config", "porcelain-sd15")
    assert fetched == ["sd15", "shap-e"]
    assert shown.splitlines() == [str(tmp_path / "sd15"), str(tmp_path / "shap-e")]
    assert [one["name"] for one in json.loads(run("fetch", "--config", "sd15", "--json"))] == [
        "sd15",
        "shap-e",
    ]
    controlled = tmp_path / "mine.yaml"
    controlled.write_text("extends: sd15\nimage: {matting: u2net}\npaint: {steps: 4, control: depth}\n")
    fetched.clear()
    run("fetch", "--config", str(controlled))
    assert fetched == ["sd15", "shap-e", "u2net", "depth"]
    refused = CliRunner().invoke(app, ["fetch", "sd15", "--config", "sd15"])
    assert refused.exit_code == 2 and "not both" in refused.stderr


def test_a_blob_is_what_dreamfusion_begins_from():
    from slipcast.systems.lift.gridding import blob

    grid = blob(32)
    solid = float((grid.occupancy > 0.5).float().mean())
    assert solid == pytest.approx(4 / 3 * 3.14159 * 0.5**3 / 8, rel=0.05)
    assert grid.colours.unique().tolist() == [0.5]
