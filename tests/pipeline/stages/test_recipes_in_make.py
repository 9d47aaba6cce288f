"""Every recipe that is listed is reachable from make, in the picture and in refinement, with its own formula."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slipcast.configs.loading import load_config
from slipcast.pipeline.drawing.plan import plan_pictures
from slipcast.pipeline.run.models import ModelStore
from slipcast.pipeline.run.progress import Quiet
from slipcast.pipeline.run.stage import StageContext
from slipcast.pipeline.stages.guided_views import guided_views
from slipcast.pipeline.stages.image import picture_of
from slipcast.systems.guided.recipes import PICTURE_RECIPES
from slipcast.systems.guided.settled import settled
from slipcast.systems.models.known import WEIGHTS
from slipcast.systems.refine.views import BACKGROUNDS

LORA = f"model={WEIGHTS / 'porcelain-lora'}"
NEEDS = {
    "negative_prompt": ["{0}.negative=[red]"],
    "perp_neg": ["{0}.negative=[red]"],
    "class_and_domain": [LORA],
    "autoguidance": [LORA],
    "composable": ["{0}.wanted={{a glass vase: 2}}", "{0}.unwanted={{red: 1}}"],
}
"""What some recipes cannot do without; the others need a name only."""


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore(load_config("starter", [LORA]))


def context(store: ModelStore, place: str, name: str, *more: str) -> StageContext:
    asked = [f"{place}.recipe={name}", *(one.format(place) for one in NEEDS.get(name, [])), *more]
    config = settled(load_config("starter", asked), store.uses())
    return StageContext("a vase", config, Path(), {}, 0, place, Quiet(), store)


@pytest.mark.parametrize("name", PICTURE_RECIPES)
def test_the_picture_of_make_is_planned_by_any_recipe(store, name) -> None:
    ctx = context(store, "image", name)
    plan = plan_pictures(picture_of(ctx.config, ctx.prompt, ctx.seed), ctx.progress, store)
    assert plan.told["formula"] == PICTURE_RECIPES[name].formula
    assert plan.weights == ctx.config.image.weights and set(plan.weights) == set(
        PICTURE_RECIPES[name].weights
    )
    assert plan.made.framings == ("front view, orange background",)


@pytest.mark.parametrize("name", PICTURE_RECIPES)
def test_refinement_asks_any_recipe_and_tells_each_view_its_own_words(store, name) -> None:
    ctx = context(store, "refine", name)
    noise_for = guided_views(ctx, ctx.config.refine)
    x_t = torch.randn(1, *store.base.latent_shape, generator=torch.Generator().manual_seed(0)).repeat(
        2, 1, 1, 1
    )
    eps = noise_for(["front view", "back view"], [BACKGROUNDS[0], BACKGROUNDS[5]])(
        x_t, torch.tensor([400, 400])
    )
    assert eps.shape == x_t.shape and bool(eps.isfinite().all())
    blind = name in (
        "rectified",
        "domain_guidance",
    )  # without a model the domain stands in, which reads no text
    assert bool((eps[0] - eps[1]).abs().max() > 0.01) != blind


def test_strength_0_in_refinement_is_the_prior_alone_to_the_bit(store) -> None:
    contexts = context(store, "refine", "in_domain", "domain_strength=0"), context(store, "refine", "cfg")
    none, prior = (guided_views(ctx, ctx.config.refine) for ctx in contexts)
    x_t, t = torch.randn(1, *store.base.latent_shape), torch.tensor([400])
    seen = (["front view"], [BACKGROUNDS[0]])
    assert torch.equal(none(*seen)(x_t, t), prior(*seen)(x_t, t))
