"""Both ends of a term's interval, contrast restored in any recipe, and bases that bring their guidance along."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from fakes import tiny_pipelines as tiny
from typer.testing import CliRunner

from slipcast.configs.errors import BadInput
from slipcast.configs.loading import load_config
from slipcast.configs.picture import PictureConfig, picture_config
from slipcast.configs.schema import MakeConfig
from slipcast.guidance import GuidedNoise, sample
from slipcast.guidance.transforms import Rescaled
from slipcast.pipeline.cli.app import app
from slipcast.pipeline.drawing.plan import models_for, plan_pictures
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.stages.image import picture_of
from slipcast.systems.guided.branches import Ingredients
from slipcast.systems.guided.recipes import PICTURE_RECIPES, picture_guidance
from slipcast.systems.guided.settled import settled
from slipcast.systems.models.base import load_base
from slipcast.systems.models.uses import GENERAL, uses_of_base


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ingredients:
    folder = tmp_path_factory.mktemp("recipes")
    tiny.stable_diffusion(folder).save_pretrained(folder / "sd")
    base, model = load_base(folder / "sd"), load_base(folder / "sd", name="other")
    return Ingredients(base=base, prompt="a vase", model=model, size=16)


@pytest.mark.parametrize(
    ("since", "until", "on"),
    [({}, {}, (0.1, 0.5, 0.9)), ({"text": 0.3}, {}, (0.5, 0.9)), ({"text": 0.3}, {"text": 0.6}, (0.5,))],
)
def test_a_term_is_on_between_its_ends(made, since, until, on) -> None:
    guidance = picture_guidance("cfg", replace(made, model=None), {"text": 4.0}, until, since=since)
    (term,) = guidance.terms
    assert [t for t in (0.1, 0.5, 0.9) if term.weight_at(t) == 4.0] == list(on)
    assert [t for t in (0.1, 0.5, 0.9) if term.weight_at(t) == 0.0] == [
        t for t in (0.1, 0.5, 0.9) if t not in on
    ]


def test_ends_that_are_none_are_a_sentence(made) -> None:
    plain = replace(made, model=None)
    with pytest.raises(BadInput, match=r"never on: since 0.7 lies above until 0.3"):
        picture_guidance("cfg", plain, {}, {"text": 0.3}, since={"text": 0.7})
    with pytest.raises(BadInput, match="no weight of the recipe cfg"):
        picture_guidance("cfg", plain, {}, since={"txt": 0.7})
    with pytest.raises(BadInput, match="since text lies between 0 and 1"):
        picture_config(None, {"since": {"text": 2.0}})
    with pytest.raises(BadInput, match=r"image\.domain_since=0\.2 changes nothing: the recipe cfg"):
        settled(load_config("starter", ["image.recipe=cfg", "image.domain_since=0.2"]), GENERAL)


@pytest.mark.parametrize("name", ["cfg", "rectified", "class_and_domain", "apg", "cfg_zero_star"])
def test_any_recipe_takes_the_contrast_of_the_prompts_own_branch(made, name) -> None:
    given = made if "model" in PICTURE_RECIPES[name].reads else replace(made, model=None)
    assert picture_guidance(name, given, {}).final is None
    final = picture_guidance(name, given, {}, guidance_rescale=0.4).final
    assert isinstance(final, Rescaled) and final.phi == 0.4
    assert final.like.name == ("text" if given.model is None else "model")


def test_recipes_that_finish_themselves_refuse_it(made) -> None:
    for name in ("rescale", "norm_cap"):
        with pytest.raises(BadInput, match=f"the recipe {name} changes the finished prediction itself"):
            picture_guidance(name, replace(made, model=None), {}, guidance_rescale=0.4)


def test_make_and_image_mean_the_same_by_them() -> None:
    config = load_config(
        "starter",
        ["image.domain_since=0.2", "image.guidance_rescale=0.5", "embedded_guidance=3"],
    )
    picture = picture_of(settled(config, GENERAL), "a vase", 0)
    assert (picture.since, picture.guidance_rescale, picture.embedded_guidance) == ({"domain": 0.2}, 0.5, 3)
    ends = ("--since", "domain=0.2", "--until", "domain=0.8")
    told = CliRunner().invoke(app, ["image", "a vase", *ends, "--explain", "--json", "--steps", "9"])
    weights = json.loads(told.stdout)["terms"][0]["weight"]
    assert {t: weight > 0 for t, weight in weights.items()} == {t: 0.2 < float(t) < 0.8 for t in weights}
    assert any(weights.values())


def test_a_latent_consistency_base_draws_as_in_diffusers_and_says_how_it_is_used(tmp_path: Path) -> None:
    pipe = tiny.stable_diffusion(tmp_path)
    torch.manual_seed(2)
    pipe.unet = tiny.unet(time_cond_proj_dim=9)
    pipe.scheduler = diffusers.LCMScheduler.from_config(pipe.scheduler.config)
    pipe.save_pretrained(tmp_path / "lcm")
    store = ModelStore(MakeConfig(base=str(tmp_path / "lcm"), dtype="float32", embedded_guidance=6.0))
    uses = store.uses()
    assert uses.scheduler == "lcm" and uses.weights["picture"]["text"] == 1.0
    assert settled(store.config, uses).refine.weights["text"] == 1.0
    config = PictureConfig(
        "a vase",
        recipe="cfg",
        base=str(tmp_path / "lcm"),
        embedded_guidance=6.0,
        steps=1,
        size="16",
        dtype="float32",
    )
    plan = plan_pictures(config, Quiet(), models_for(config))
    assert plan.weights == {"text": 1.0}
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    ours = sample(GuidedNoise(plan.guidance), plan.scheduler, noise, steps=1)
    theirs: Any = diffusers.LatentConsistencyModelPipeline(**pipe.components, requires_safety_checker=False)
    expected = tiny.quiet(theirs)(
        ["a vase"] * 2, height=16, width=16, num_inference_steps=1, guidance_scale=6.0, latents=noise,
        output_type="latent",
    ).images  # fmt: skip
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    assert plan.base.unconditional.guidance is not None


def test_a_base_of_zero_terminal_snr_is_drawn_by_ddim(tmp_path: Path) -> None:
    pipe = tiny.stable_diffusion(tmp_path)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(
        pipe.scheduler.config,
        rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction",
    )  # fmt: skip
    pipe.save_pretrained(tmp_path / "pure")
    assert uses_of_base(tmp_path / "pure").scheduler == "ddim"
    assert uses_of_base(tmp_path).scheduler is None
    assert load_base(tmp_path / "pure").predictor.schedule.ends_in_noise  # pyright: ignore[reportAttributeAccessIssue]
