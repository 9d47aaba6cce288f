"""The recipes of ``slipcast image`` and of refinement, as data: a row of a table each.

The recipes themselves are ``guidance.recipes``; here is which branch goes where, how the terms are called in
``--weight``, how strong they are by default, and which of the user's wishes each recipe listens to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...configs.errors import BadInput
from ...configs.plugins import look_up
from ...guidance.algebra import Branch, Guidance, PerSample, Weight
from ...guidance.recipes import RECIPES
from .branches import Ingredients

Weights = Mapping[str, Weight]


def _negative_prompt(made: Ingredients, w: Weights) -> Guidance:
    made.negative()  # must be given here
    return RECIPES["negative_prompt"](made.start, made.text, w["text"])


def _in_domain(made: Ingredients, w: Weights) -> Guidance:
    controls = [(made.text, w["text"]), *made.extra()]
    return RECIPES["in_domain"](made.start, (made.in_domain, w["domain"]), controls)


def _composable(made: Ingredients, w: Weights) -> Guidance:
    wanted = [(made.text, w["text"]), *made.further(made.wanted, "and"), *made.extra()]
    return RECIPES["composable"](made.null, wanted, made.further(made.unwanted, "not"))


def _class_and_domain(made: Ingredients, w: Weights) -> Guidance:
    return RECIPES["class_and_domain"](made.custom, made.custom_null, made.null, w["class"], w["domain"])


def _autoguidance(made: Ingredients, w: Weights) -> Guidance:
    if made.model is None:
        raise BadInput("autoguidance needs a worse model of the same kind; give --model an early checkpoint")
    return RECIPES["autoguidance"](made.custom, made.text, w["text"])


def _perp_neg(made: Ingredients, w: Weights) -> Guidance:
    plain = made.negative() if made.negatives or not made.other_views else []
    negatives: list[tuple[Branch, Weight]] = [(branch, w["negative"]) for branch in plain]
    negatives += [(branch, PerSample(w["negative"], factors)) for branch, factors in made.unlike()]
    return RECIPES["perp_neg"](made.null, made.text, negatives, w["text"])


@dataclass(frozen=True)
class PictureRecipe:
    """One recipe as the command offers it.

    Attributes:
        formula: for people.
        weights: names of its terms with default weights.
        build: puts it together.
        reads: wishes beyond prompt and controls that it listens to, as in ``WISHES``; others are refused.
        domain: whether it needs a domain. In a recipe that reads ``model``, the domain stands in for a missing one.
    """

    formula: str
    weights: Mapping[str, float]
    build: Callable[[Ingredients, Weights], Guidance]
    reads: frozenset[str] = frozenset()
    domain: bool = False


WISHES = {
    "negatives": "--negative",
    "wanted": "--and",
    "unwanted": "--not",
    "extras": "conditions",
    "model": "--model",
    "other_views": "refine.view_negatives",
}
"""Fields of ``Ingredients`` that not every recipe reads, as the user calls them."""


def _of_text(name: str, formula: str) -> PictureRecipe:
    """A recipe of two branches, the prompt's and the null or negative one, under one weight."""
    return PictureRecipe(
        formula,
        {"text": 7.5},
        lambda made, w: RECIPES[name](made.start, made.text, w["text"]),
        frozenset({"negatives"}),
    )


PICTURE_RECIPES: dict[str, PictureRecipe] = {
    "cfg": _of_text(
        "cfg",
        "null + w_text (text - null); null is the negative prompt if there is one",
    ),
    "negative_prompt": PictureRecipe(
        "negative + w_text (text - negative)", {"text": 7.5}, _negative_prompt, frozenset({"negatives"})
    ),
    "bridge": PictureRecipe(
        "null + w_text (text - flawed), flawed the prompt with the words of --negative",
        {"text": 7.5},
        lambda made, w: RECIPES["bridge"](made.null, made.text, made.flawed, w["text"]),
        frozenset({"negatives"}),
    ),
    "composable": PictureRecipe(
        "null + w_text (text - null) + sum_i w_i (and_i - null) + sum_i w_i (condition_i - null) "
        "- sum_j w_j (not_j - null)",
        {"text": 7.5},
        _composable,
        frozenset({"wanted", "unwanted", "extras"}),
    ),
    "in_domain": PictureRecipe(
        "null + w_domain (domain - null) + w_text (text - null) + sum_i w_i (condition_i - null); "
        "null is the negative prompt if there is one",
        {"domain": 3.5, "text": 3.5},
        _in_domain,
        frozenset({"extras", "negatives"}),
        domain=True,
    ),
    "rectified": PictureRecipe(
        "null + w_model (model - null)",
        {"model": 5.0},
        lambda made, w: RECIPES["rectified"](made.null, made.custom, w["model"]),
        frozenset({"model"}),
    ),
    "domain_guidance": PictureRecipe(
        "null + w_model (model - null)",
        {"model": 1.5},
        lambda made, w: RECIPES["domain_guidance"](made.null, made.custom, w["model"]),
        frozenset({"model"}),
    ),
    "class_and_domain": PictureRecipe(
        "null + w_class (model - model null) + w_domain (model null - null)",
        {"class": 1.5, "domain": 1.5},
        _class_and_domain,
        frozenset({"model"}),
    ),
    "autoguidance": PictureRecipe(
        "model + w_text (text - model)", {"text": 2.0}, _autoguidance, frozenset({"model"})
    ),
    "perp_neg": PictureRecipe(
        "null + w_text [(text - null) - sum_i w_negative perp(negative_i - null)]",
        {"text": 7.5, "negative": 1.0},
        _perp_neg,
        frozenset({"negatives", "other_views"}),
    ),
    "apg": _of_text(
        "apg",
        "null + w_text [text - null, without its part along text]; null is the negative prompt if there is one",
    ),
    "rescale": _of_text(
        "rescale",
        "null + w_text (text - null), with 0.7 of the contrast of text",
    ),
    "norm_cap": _of_text(
        "norm_cap",
        "null + w_text (text - null), never longer than text",
    ),
    "cfg_zero_star": _of_text(
        "cfg_zero_star",
        "s null + w_text (text - s null), s null the part of text along null",
    ),
    "magnitude_aware": _of_text(
        "magnitude_aware",
        "null + [1 + (w_text - 1) exp(-8 |text - null| / |null|)] (text - null)",
    ),
    "frequency_decoupled": PictureRecipe(
        "null + w_low low(text - null) + w_high high(text - null)",
        {"low": 5.0, "high": 10.0},
        lambda made, w: RECIPES["frequency_decoupled"](made.start, made.text, w["low"], w["high"]),
        frozenset({"negatives"}),
    ),
}


def recipe_named(name: str) -> PictureRecipe:
    """The recipe of that name, ours or a plug-in's. BadInput with the nearest one otherwise."""
    return look_up("recipes", name, PICTURE_RECIPES)
