"""Recipes as `slipcast image` builds them: each equals its formula on exact Gaussian models, and says what lacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from slipcast.configs.errors import BadInput
from slipcast.guidance import RECIPES, GaussianPredictor, GuidedNoise, NoiseSchedule
from slipcast.systems.guided.branches import Extra, Ingredients
from slipcast.systems.guided.recipes import PICTURE_RECIPES, STARTER_WEIGHTS, picture_guidance

SCHEDULE = NoiseSchedule(torch.linspace(0.999, 0.01, 100))
X_T, T = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 80])
MEANS = {"": 0.0, "cat": 1.0, "dog": -2.0, "red": 3.0}


@dataclass
class Model:
    """A Gaussian whose prompts are means; ``shift`` tells two models apart."""

    name: str = "gaussian"
    identity: str = "toy"
    shift: float = 0.0
    predictor: GaussianPredictor = field(default_factory=lambda: GaussianPredictor(0.0, 1.0, SCHEDULE, "toy"))

    def condition(self, prompts: Any, *, size: int | None = None) -> torch.Tensor:
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
}


def test_every_recipe_is_offered_and_checked() -> None:
    assert set(PICTURE_RECIPES) == set(RECIPES) == set(FORMULAS)


@pytest.mark.parametrize("name", FORMULAS)
def test_it_is_its_formula(name) -> None:
    weights, more, mean = FORMULAS[name]
    torch.testing.assert_close(mean_of(picture_guidance(name, made(**more), weights)), said(mean))


def test_defaults_are_the_recipes_and_the_starters_own() -> None:
    torch.testing.assert_close(mean_of(picture_guidance("cfg", made(), {})), said(7.5))
    torch.testing.assert_close(
        mean_of(picture_guidance("cfg", made(base=Model("starter")), {})), said(STARTER_WEIGHTS["text"])
    )


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
