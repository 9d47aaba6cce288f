"""LoRAs of the base reach every recipe, in the picture and in refinement, and a run and a picture remember them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from slipcast.configs.atomic import sha256_of_file
from slipcast.configs.loading import load_config
from slipcast.guidance.networks import AdaptedPredictor
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.drawing.plan import plan_pictures
from slipcast.pipeline.run.manifest import asked_of
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages.guided_views import guided_views
from slipcast.pipeline.stages.image import picture_of
from slipcast.systems.guided.recipes import PICTURE_RECIPES
from slipcast.systems.guided.settled import settled
from slipcast.systems.models.known import WEIGHTS
from slipcast.systems.refine.views import BACKGROUNDS

LORA = WEIGHTS / "porcelain-lora"
HASH = sha256_of_file(LORA / "pytorch_lora_weights.safetensors")
MODEL = f"model={LORA}"
NEEDS = {
    "negative_prompt": ["{0}.negative=[red]"],
    "perp_neg": ["{0}.negative=[red]"],
    "bridge": ["{0}.negative=[red]"],
    "class_and_domain": [MODEL],
    "autoguidance": [MODEL],
    "composable": ["{0}.wanted={{a glass vase: 2}}", "{0}.unwanted={{red: 1}}"],
}


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore(load_config("starter", [MODEL, f'loras=["{LORA}:0.5"]']))


@pytest.mark.parametrize("name", PICTURE_RECIPES)
def test_every_branch_of_the_base_hears_them(store, name) -> None:
    for place in ("image", "refine"):
        asked = [f"{place}.recipe={name}", *(one.format(place) for one in NEEDS.get(name, []))]
        config = settled(load_config("starter", asked), store.uses())
        ctx = StageContext("a vase", config, Path(), {}, 0, place, Quiet(), store)
        if place == "image":
            guidance = plan_pictures(picture_of(config, "a vase", 0), Quiet(), store).guidance
        else:
            guidance = guided_views(ctx, config.refine)(["front view"], [BACKGROUNDS[0]]).guidance
        network = store.base.predictor.network
        of_base = [b for b in guidance.branches if getattr(b.predictor, "network", None) is network]
        assert of_base and store.base.predictor not in [branch.predictor for branch in of_base]
        for branch in of_base:
            assert isinstance(branch.predictor, AdaptedPredictor)
            strengths = list(branch.predictor.strengths.values())
            assert strengths == ([0.5, 1.0] if branch.name.startswith("model") else [0.5])


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code in (0, 2), result.stderr
    return result


def test_a_lora_in_the_base_draws_what_the_same_lora_draws_as_a_model_at_weight_1(tmp_path) -> None:
    few = ("a vase", "--steps", "2", "--count", "1", "--dtype", "float32", "--out", str(tmp_path))
    pictures = []
    for words in (
        ("--recipe", "rectified", "--model", str(LORA), "--weight", "model=1"),
        ("--recipe", "cfg", "--lora", f"{LORA}:0.75", "--lora", f"{LORA}:0.25", "--weight", "text=1"),
        ("--recipe", "cfg", "--weight", "text=1"),
        ("--recipe", "cfg", "--weight", "text=1", "--lora", f"{LORA}:0"),
    ):
        result = run("image", *few, *words)
        with Image.open(result.stdout.strip().splitlines()[-1]) as picture:
            note = json.loads(picture.text["slipcast"])  # pyright: ignore[reportAttributeAccessIssue]
            pictures.append((torch.from_numpy(np.asarray(picture, np.float32)), note))
    as_model, stacked, plain, silent = (picture for picture, _ in pictures)
    assert (as_model - stacked).abs().max() <= 1  # of 255: W + 0.75 BA + 0.25 BA is rounded twice
    assert (plain - stacked).abs().max() > 20
    assert torch.equal(plain, silent)
    note = pictures[1][1]
    assert note["slipcast"]["loras"] == [f"{LORA}:0.75", f"{LORA}:0.25"]
    assert note["models"][f"lora {LORA}:0.75"] == note["models"][f"lora {LORA}:0.25"] == HASH


def test_a_run_remembers_its_loras_and_draws_anew_with_others(tmp_path) -> None:
    few = ("image.steps=1", "image.candidates=1", "--until", "image", "--json")
    first = json.loads(run("make", "a vase", *few, "--lora", f"{LORA}:0.5", "--out", str(tmp_path)).stdout)
    manifest = json.loads((Path(first["run"]) / "manifest.json").read_text())
    assert manifest["config"]["loras"] == [f"{LORA}:0.5"]
    told = {"id": f"{LORA}:0.5", "revision": f"{HASH}:0.5", "licence": "unknown"}
    assert manifest["stages"]["image"]["models"]["loras"] == told
    again = json.loads(run("make", "--resume", first["run"], "--until", "image", "--json").stdout)
    assert not again["stages"]["image"]["made"]
    other = ModelStore(asked_of(Path(first["run"]), [f'loras=["{LORA}:0.4"]']).config)
    assert (
        other.identities(["loras"])["loras"]["revision"] == f"{HASH}:0.4"
    )  # which is a part of the stage's key
    missing = run("make", "a vase", "--lora", "nowhere.safetensors:0.5", "--out", str(tmp_path))
    assert missing.exit_code == 2 and "there is no file or folder nowhere.safetensors" in missing.stderr
    empty = run("image", "a vase", "--lora", str(tmp_path), "--explain")
    assert empty.exit_code == 2 and "is no LoRA: expected a .safetensors file" in empty.stderr
