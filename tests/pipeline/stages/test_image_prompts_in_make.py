"""Image prompts reach every recipe, in the picture and in refinement, and a run and a picture remember them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fakes.ip_adapters import image_encoder, ip_adapter
from PIL import Image
from typer.testing import CliRunner, Result

from slipcast.configs.loading import load_config
from slipcast.configs.picture import make_settings
from slipcast.guidance.conditioning import as_conditioning
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.drawing.plan import plan_pictures
from slipcast.pipeline.run.manifest import asked_of
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages.guided_views import guided_views
from slipcast.pipeline.stages.image import picture_of
from slipcast.pipeline.stages.table import STAGES
from slipcast.systems.guided.recipes import PICTURE_RECIPES
from slipcast.systems.guided.settled import settled
from slipcast.systems.models.base import load_base
from slipcast.systems.models.known import WEIGHTS
from slipcast.systems.refine.views import BACKGROUNDS

MODEL = f"model={WEIGHTS / 'porcelain-lora'}"
NEEDS = {
    "negative_prompt": ["{0}.negative=[red]"],
    "perp_neg": ["{0}.negative=[red]"],
    "bridge": ["{0}.negative=[red]"],
    "class_and_domain": [MODEL],
    "rectified": [MODEL],
    "domain_guidance": [MODEL],
    "autoguidance": [MODEL],
    "composable": ["{0}.wanted={{a glass vase: 2}}", "{0}.unwanted={{red: 1}}"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompts")
    unet = load_base(WEIGHTS / "prior").predictor.network
    ip_adapter(folder / "net.safetensors", unet)
    image_encoder(folder / "image_encoder")
    levels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(levels).save(folder / "cup.png")
    return folder


def written(place: Path) -> str:
    return f"{place / 'cup.png'}:{place / 'net.safetensors'}:0.5"


@pytest.fixture(scope="module")
def store(place: Path) -> ModelStore:
    return ModelStore(load_config("starter", [MODEL, f'image_prompt=["{written(place)}"]']))


@pytest.mark.parametrize("name", PICTURE_RECIPES)
def test_branches_of_the_prompt_see_it_in_every_recipe_and_the_domain_sees_nothing(
    store: ModelStore, place: Path, name: str
) -> None:
    (shown,) = store.image_prompts([written(place)])
    for stage in ("image", "refine"):
        asked = [f"{stage}.recipe={name}", *(one.format(stage) for one in NEEDS.get(name, []))]
        asked += ["image.size=64", f'image_prompt=["{written(place)}"]']
        config = settled(load_config("starter", asked), store.uses())
        ctx = StageContext("a vase", config, Path(), {}, 0, stage, Quiet(), store)
        if stage == "image":
            guidance = plan_pictures(picture_of(config, "a vase", 0), Quiet(), store).guidance
        else:
            guidance = guided_views(ctx, config.refine)(["front view"], [BACKGROUNDS[0]]).guidance
        for branch in guidance.branches:
            seen = as_conditioning(branch.condition).images
            if branch.name == "domain":
                assert seen == ()
            else:
                words = branch.name in ("text", "model", "flawed")  # flawed: the same picture, other words
                assert seen == ((shown.picture if words else shown.nothing),)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code in (0, 2), result.stderr
    return result


def test_from_the_command_line_and_from_yaml_it_draws_the_same(place: Path, tmp_path: Path) -> None:
    few = (
        "a vase",
        "--steps",
        "1",
        "--count",
        "1",
        "--size",
        "64",
        "--dtype",
        "float32",
        "--out",
        str(tmp_path),
    )
    (tmp_path / "spec.yaml").write_text(f"image_prompt: ['{written(place)}']\ndtype: float32\n")
    pictures = []
    for words in (("--image-prompt", written(place)), ("--spec", str(tmp_path / "spec.yaml")), ()):
        result = run("image", *few, *words)
        with Image.open(result.stdout.strip().splitlines()[-1]) as picture:
            note = json.loads(picture.text["slipcast"])  # pyright: ignore[reportAttributeAccessIssue]
            pictures.append((np.asarray(picture, np.float32), note))
    (given, note), (spelt, _), (plain, _) = pictures
    assert np.array_equal(given, spelt) and not np.array_equal(given, plain)
    assert note["slipcast"]["image_prompt"] == [written(place)]
    assert f"image prompt {written(place)}" in note["models"]
    settings, _, _ = make_settings(tmp_path / "spec.yaml")
    assert settings == {"image_prompt": [written(place)], "dtype": "float32"}


def test_a_run_remembers_it_and_draws_anew_when_the_picture_changes(place: Path, tmp_path: Path) -> None:
    picture = tmp_path / "own.png"
    picture.write_bytes((place / "cup.png").read_bytes())
    text = f"{picture}:{place / 'net.safetensors'}"
    few = ("image.steps=1", "image.candidates=1", "image.size=64", "--until", "image", "--json")
    asked = ("make", "a vase", *few, "--image-prompt", text, "--out", str(tmp_path / "runs"))
    first = json.loads(run(*asked).stdout)
    manifest = json.loads((Path(first["run"]) / "manifest.json").read_text())
    told = manifest["stages"]["image"]["models"]["image_prompt"]
    assert told["id"] == text and told["licence"] == "unknown"
    assert not json.loads(run(*asked).stdout)["stages"]["image"]["made"]
    other = ModelStore(asked_of(Path(first["run"]), [f'image_prompt=["{text}:0.5"]']).config)
    assert other.identities(["image_prompt"])["image_prompt"]["revision"] != told["revision"]
    Image.new("RGB", (8, 8), "red").save(picture)
    assert json.loads(run(*asked).stdout)["stages"]["image"]["made"]
    dry = run(*asked, "--dry-run")
    (needed,) = (one for one in json.loads(dry.stdout)["models"] if one["role"] == "image_prompt")
    assert needed["size"] > 1000 and needed["problem"] is None
    gone = run("image", "a vase", "--image-prompt", "cup.png:nowhere.safetensors", "--explain")
    assert gone.exit_code == 2 and "there is no picture cup.png" in gone.stderr


def test_a_condition_of_its_own_counts_in_its_stage_alone(place: Path) -> None:
    condition = f'{{shape: {{prompt: a cup, image_prompt: ["{written(place)}"]}}}}'
    config = load_config("starter", [f"refine.conditions={condition}", "refine.recipe=in_domain"])
    store = ModelStore(config)
    (role,) = store.identities(["refine.conditions"])
    assert role == f"refine.conditions shape {written(place)}" and not store.identities(["image.conditions"])
    stages = {stage.name: stage for stage in STAGES}
    assert stages["refine"].settings(config)["conditions"]["shape"]["image_prompt"] == [written(place)]
    plain = load_config("starter", ["refine.conditions={shape: {prompt: a cup}}"])
    assert (
        "image_prompt" not in stages["refine"].settings(plain)["conditions"]["shape"]
    )  # older runs stay finished
    ctx = StageContext("a vase", settled(config, store.uses()), Path(), {}, 0, "refine", Quiet(), store)
    guidance = guided_views(ctx, ctx.config.refine)(["front view"], [BACKGROUNDS[0]]).guidance
    (shown,) = store.image_prompts([written(place)])
    seen = {branch.name: as_conditioning(branch.condition).images for branch in guidance.branches}
    assert seen == {
        "null": (shown.nothing,),
        "domain": (),
        "text": (shown.nothing,),
        "shape": (shown.picture,),
    }
