"""Recipes as `slipcast image` builds them: each equals its formula on exact Gaussian models, and says what lacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from slipcast.configs.errors import BadInput
from slipcast.guidance import RECIPES, GaussianPredictor, GuidedNoise, NoiseSchedule
from slipcast.systems.guided.branches import Extra, Ingredients
from slipcast.systems.guided.recipes import PICTURE_RECIPES, guided_noise_for, picture_guidance, term_weights
from slipcast.systems.models.known import SHIPPED
from slipcast.systems.models.uses import PICTURE, REFINE

SCHEDULE = NoiseSchedule(torch.linspace(0.999, 0.01, 100))
X_T, T = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 80])
MEANS = {"": 0.0, "cat": 1.0, "dog": -2.0, "red": 3.0, "cat, dog": -2.0}


@dataclass
class Model:
    """A Gaussian whose prompts are means; ``shift`` tells two models apart."""

    name: str = "gaussian"
    identity: str = "toy"
    shift: float = 0.0
    predictor: GaussianPredictor = field(default_factory=lambda: GaussianPredictor(0.0, 1.0, SCHEDULE, "toy"))

    def condition(self, prompts: Any, *, size: Any = None) -> torch.Tensor:
        return torch.tensor([MEANS[p] + self.shift for p in prompts]).view(-1, 1, 1, 1)


@dataclass
class TextFree:
    predictor: GaussianPredictor
    condition: None = None


DOMAIN = TextFree(GaussianPredictor(5.0, 1.0, SCHEDULE, "toy"))


CUSTOM = {"model": Model("custom", shift=0.5)}


def made(**more: Any) -> Ingredients:
    return Ingredients(**dict[str, Any](base=Model(), prompt="cat", domain=DOMAIN) | more)


def said(mean: float) -> torch.Tensor:
    return DOMAIN.predictor.predict(X_T, T, [torch.tensor(mean)])[0]


def mean_of(guidance: Any) -> torch.Tensor:
    """eps is affine in the mean, so an affine guidance of Gaussians says what one Gaussian says: its mean."""
    return GuidedNoise(guidance)(X_T, T)


FORMULAS = {
    "cfg": ({"text": 3.0}, {}, 0 + 3 * (1 - 0)),
    "negative_prompt": ({"text": 3.0}, {"negatives": ("dog",)}, -2 + 3 * (1 + 2)),
    "bridge": ({"text": 3.0}, {"negatives": ("dog",)}, 3 * (1 + 2)),
    "composable": (
        {"text": 2.0},
        {"wanted": {"red": 1.5}, "unwanted": {"dog": 0.5}},
        2 * 1 + 1.5 * 3 - 0.5 * -2,
    ),
    "in_domain": (
        {"domain": 1.5, "text": 2.0},
        {"extras": {"style": Extra("red", 0.5, Model("other", shift=10.0)), "more": Extra("dog", 2.0)}},
        1.5 * 5 + 2 * 1 + 0.5 * 13 + 2 * -2,
    ),
    "rectified": ({"model": 3.0}, CUSTOM, 3 * 1.5),
    "domain_guidance": ({"model": 1.5}, CUSTOM, 1.5 * 1.5),
    "class_and_domain": ({"class": 2.0, "domain": 3.0}, CUSTOM, 2 * (1.5 - 0.5) + 3 * 0.5),
    "autoguidance": ({"text": 2.0}, CUSTOM, 1.5 + 2 * (1 - 1.5)),
    # One dimension of change only: a negative along it has no perpendicular part.
    "perp_neg": ({"text": 3.0, "negative": 2.0}, {"negatives": ("dog",)}, 3.0),
    "frequency_decoupled": ({"low": 3.0, "high": 3.0}, {}, 3.0),
}


NOT_AFFINE = ("apg", "rescale", "norm_cap", "cfg_zero_star", "magnitude_aware")


def test_every_recipe_is_offered_and_checked() -> None:
    assert set(PICTURE_RECIPES) == set(RECIPES) == {*FORMULAS, *NOT_AFFINE}


class Patterned(Model):
    """Means that differ from pixel to pixel, so that prompts change the contrast too."""

    def condition(self, prompts: Any, *, size: int | None = None) -> torch.Tensor:
        return super().condition(prompts) * torch.linspace(-1, 1, 9).view(1, 1, 3, 3)


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_a_recipe_that_is_not_affine_is_the_one_of_the_table_from_the_same_branches(name) -> None:
    ingredients = made(base=Patterned())
    wanted = RECIPES[name](ingredients.null, ingredients.text, 3.0)
    got = picture_guidance(name, ingredients, {"text": 3.0})
    torch.testing.assert_close(mean_of(got), mean_of(wanted), rtol=0, atol=0)
    assert not torch.allclose(mean_of(got), mean_of(picture_guidance("cfg", ingredients, {"text": 3.0})))


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_it_takes_a_negative_prompt_in_the_place_of_no_prompt(name) -> None:
    ingredients = made(negatives=("dog",))
    wanted = RECIPES[name](ingredients.negative()[0], ingredients.text, 3.0)
    got = picture_guidance(name, ingredients, {"text": 3.0})
    torch.testing.assert_close(mean_of(got), mean_of(wanted), rtol=0, atol=0)


@pytest.mark.parametrize("name", FORMULAS)
def test_it_is_its_formula(name) -> None:
    weights, more, mean = FORMULAS[name]
    torch.testing.assert_close(mean_of(picture_guidance(name, made(**more), weights)), said(mean))


def test_weights_are_what_was_asked_then_what_the_models_say_then_the_recipes_own() -> None:
    torch.testing.assert_close(mean_of(picture_guidance("cfg", made(), {})), said(7.5))
    assert term_weights("in_domain", {}) == {"domain": 3.5, "text": 3.5}
    own = {"text": 4.0, "other recipe's": 1.0}
    assert term_weights("in_domain", {"domain": 1.0}, own) == {"domain": 1.0, "text": 4.0}
    starter = SHIPPED["base"]["starter"].uses.weights
    assert (starter[PICTURE], starter[REFINE]) == (
        {"domain": 1.5, "text": 3.0},
        {"domain": 8.0, "text": 12.0},
    )


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 3.0])
def test_the_strength_is_a_factor_on_the_domains_weight(strength) -> None:
    weights = {"domain": 1.5, "text": 2.0}
    guidance = picture_guidance("in_domain", made(), weights, domain_strength=strength)
    torch.testing.assert_close(mean_of(guidance), said(strength * 1.5 * 5 + 2 * 1))


def test_strength_0_is_the_prior_alone() -> None:
    """To the bit, and the domain is not even asked."""
    weights = {"domain": 1.5, "text": 2.0}
    none = picture_guidance("in_domain", made(), weights, {"domain": 0.5}, domain_strength=0)
    plain = picture_guidance("cfg", made(), {"text": 2.0})
    torch.testing.assert_close(mean_of(none), mean_of(plain), rtol=0, atol=0)
    assert {branch.name for branch in none.needed([0.1])} == {"null", "text"}


class Numbers(Model):
    """Prompts are sums of numbers: ``3, 0.5`` is the mean 3.5."""

    def condition(self, prompts: Any, *, size: int | None = None) -> torch.Tensor:
        means = [sum(float(part or 0) for part in prompt.split(", ")) for prompt in prompts]
        return torch.tensor(means).view(-1, 1, 1, 1)


PER_VIEW = {"in_domain": {}, "composable": {"wanted": {"2": 1.5}, "unwanted": {"-1": 0.5}}}
PER_VIEW |= {name: {"negatives": ("-2",)} for name in ("negative_prompt", "perp_neg", "bridge")}
PER_VIEW |= {
    name: {"model": Numbers("custom")} for name in PICTURE_RECIPES if "model" in PICTURE_RECIPES[name].reads
}
# The same model with the same words is no worse one, and has no direction: the formula holds all the same.


@pytest.mark.parametrize("name", PICTURE_RECIPES)
def test_each_view_of_a_batch_has_words_of_its_own(name) -> None:
    """A batch of two framings says what each says alone, in every recipe: score distillation asks so."""
    more = PER_VIEW.get(name, {})

    def noise(framings: tuple[str, ...], rows: slice) -> torch.Tensor:
        ingredients = made(base=Numbers(), prompt="3", framings=framings, **more)
        return guided_noise_for(name, ingredients, {})(X_T[rows], T[rows])

    both = noise(("0.5", "-4"), slice(0, 2))
    torch.testing.assert_close(both[:1], noise(("0.5",), slice(0, 1)))
    torch.testing.assert_close(both[1:], noise(("-4",), slice(1, 2)))
    if name not in ("autoguidance", "bridge"):  # of a model with itself, and of what both ends are told
        assert not torch.allclose(both, noise(("0.5", "0.5"), slice(0, 2)))


def test_a_negative_prompt_takes_the_place_of_the_unconditional_branch() -> None:
    away = {"negatives": ("dog",)}
    torch.testing.assert_close(
        mean_of(picture_guidance("cfg", made(**away), {"text": 3.0})), said(-2 + 3 * 3)
    )
    guidance = picture_guidance("in_domain", made(**away), {"domain": 1.5, "text": 2.0})
    torch.testing.assert_close(mean_of(guidance), said(-2 + 1.5 * 7 + 2 * 3))


def test_a_term_is_off_above_its_end() -> None:
    guidance = picture_guidance("in_domain", made(), {"domain": 1.0, "text": 2.0}, {"domain": 0.5})
    on, off = said(5 + 2), said(2.0)
    torch.testing.assert_close(mean_of(guidance), torch.stack([on[0], off[1]]))


def test_the_domain_stands_in_for_a_model() -> None:
    guidance = picture_guidance("domain_guidance", made(), {"model": 1.5})
    torch.testing.assert_close(mean_of(guidance), said(7.5))


@pytest.mark.parametrize(
    ("recipe", "more", "weights", "sentence"),
    [
        ("cgf", {}, {}, "did you mean cfg"),
        ("in_domain", {}, {"domian": 2.0}, "did you mean domain"),
        ("in_domain", {"domain": None}, {}, "needs a domain"),
        ("cfg", {}, {"text": float("nan")}, "finite number"),
        ("negative_prompt", {}, {}, "give --negative"),
        ("negative_prompt", {"negatives": ("dog", "red")}, {}, "composable or perp_neg"),
        ("perp_neg", {}, {}, "give --negative"),
        ("class_and_domain", {}, {}, "reads prompts"),
        ("autoguidance", {}, {}, "worse model"),
        ("cfg", CUSTOM, {}, r"does not use --model; choose rectified or domain_guidance or class"),
        ("in_domain", {"wanted": {"red": 1.0}}, {}, "does not use --and; choose composable"),
        ("composable", {"negatives": ("dog",)}, {}, "does not use --negative"),
        ("perp_neg", {"negatives": ("dog",), "extras": {"a": Extra("red", 1.0)}}, {}, "not use conditions"),
        ("in_domain", {"extras": {"text": Extra("red", 1.0)}}, {}, "different names"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(recipe, more, weights, sentence) -> None:
    with pytest.raises(BadInput, match=sentence):
        picture_guidance(recipe, made(**more), weights)
