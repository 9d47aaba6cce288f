"""From the branches of a picture to its ``Guidance``: one line of a table for each recipe of ``slipcast image``.

The recipes themselves are ``guidance.recipes``; here is which branch goes where, how the terms are called in
``--weight``, how strong they are by default, and which of the user's wishes each recipe listens to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...configs.plugins import look_up
from ...guidance.algebra import Guidance, Weight
from ...guidance.recipes import RECIPES, interval
from .branches import Ingredients

Weights = Mapping[str, Weight]


def _negative_prompt(made: Ingredients, w: Weights) -> Guidance:
    made.negative()  # must be given here
    return RECIPES["negative_prompt"](made.start, made.text, w["text"])


def _in_domain(made: Ingredients, w: Weights) -> Guidance:
    controls = [(made.text, w["text"]), *made.extra()]
    return RECIPES["in_domain"](made.start, (made.in_domain, w["domain"]), controls)


def _composable(made: Ingredients, w: Weights) -> Guidance:
    wanted = [(made.text, w["text"]), *made.further(made.wanted, "and ")]
    return RECIPES["composable"](made.null, wanted, made.further(made.unwanted, "not "))


def _class_and_domain(made: Ingredients, w: Weights) -> Guidance:
    return RECIPES["class_and_domain"](made.custom, made.custom_null, made.null, w["class"], w["domain"])


def _autoguidance(made: Ingredients, w: Weights) -> Guidance:
    if made.model is None:
        raise BadInput("autoguidance needs a worse model of the same kind; give --model an early checkpoint")
    return RECIPES["autoguidance"](made.custom, made.text, w["text"])


def _perp_neg(made: Ingredients, w: Weights) -> Guidance:
    negatives = [(branch, w["negative"]) for branch in made.negative()]
    return RECIPES["perp_neg"](made.null, made.text, negatives, w["text"])


@dataclass(frozen=True)
class PictureRecipe:
    """One recipe as the command offers it.

    Attributes:
        formula: for people.
        weights: names of its terms with default weights.
        build: puts it together.
        reads: wishes beyond prompt and controls that it listens to, as in ``WISHES``; others are refused.
    """

    formula: str
    weights: Mapping[str, float]
    build: Callable[[Ingredients, Weights], Guidance]
    reads: frozenset[str] = frozenset()


WISHES = {
    "negatives": "--negative",
    "wanted": "--and",
    "unwanted": "--not",
    "extras": "conditions",
    "model": "--model",
}
"""Fields of ``Ingredients`` that not every recipe reads, as the user calls them."""

PICTURE_RECIPES: dict[str, PictureRecipe] = {
    "cfg": PictureRecipe(
        "null + w_text (text - null); null is the negative prompt if there is one",
        {"text": 7.5},
        lambda made, w: RECIPES["cfg"](made.start, made.text, w["text"]),
        frozenset({"negatives"}),
    ),
    "negative_prompt": PictureRecipe(
        "negative + w_text (text - negative)", {"text": 7.5}, _negative_prompt, frozenset({"negatives"})
    ),
    "composable": PictureRecipe(
        "null + w_text (text - null) + sum_i w_i (and_i - null) - sum_j w_j (not_j - null)",
        {"text": 7.5},
        _composable,
        frozenset({"wanted", "unwanted"}),
    ),
    "in_domain": PictureRecipe(
        "null + w_domain (domain - null) + w_text (text - null) + sum_i w_i (condition_i - null); "
        "null is the negative prompt if there is one",
        {"domain": 3.5, "text": 3.5},
        _in_domain,
        frozenset({"extras", "negatives"}),
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
        frozenset({"negatives"}),
    ),
}
STARTER_WEIGHTS = {"text": 4.0, "domain": 2.0}
"""What the starter's small networks want instead, measured by ``python -m benchmarks.images``."""


def recipe_named(name: str) -> PictureRecipe:
    """The recipe of that name, ours or a plug-in's. BadInput with the nearest one otherwise."""
    return look_up("recipes", name, PICTURE_RECIPES)


def picture_guidance(
    recipe: str,
    made: Ingredients,
    weights: Mapping[str, float],
    until: Mapping[str, float] | None = None,
) -> Guidance:
    """The guidance of a recipe.

    Args:
        weights: by the names of the recipe's terms; what is left out has its default.
        until: noise fraction t / T up to which a term is on, by name.
    Raises: BadInput for an unknown recipe or name of a weight, a weight that is not a finite number, or a recipe that
        lacks a model or a prompt.
    """
    chosen = recipe_named(recipe)
    _refuse_unread(recipe, chosen, made)
    for name in [*weights, *(until or {})]:
        if name not in chosen.weights:
            raise unknown_name(f"weight of the recipe {recipe}", name, chosen.weights)
    for name, value in weights.items():
        if not math.isfinite(value):
            raise BadInput(f"the weight {name} must be a finite number, not {value}")
    own = STARTER_WEIGHTS if made.base.name == "starter" else {}
    full: dict[str, Weight] = {
        **chosen.weights,
        **{k: v for k, v in own.items() if k in chosen.weights},
        **weights,
    }
    for name, end in (until or {}).items():
        if not 0 <= end <= 1:
            raise BadInput(f"until {name} lies between 0 and 1, not {end}")
        full[name] = interval(full[name], 0.0, end)
    try:
        return chosen.build(made, full)
    except ValueError as error:  # two branches of one name, and the like: the user's names meet the recipe's
        raise BadInput(str(error)) from error


def _refuse_unread(recipe: str, chosen: PictureRecipe, made: Ingredients) -> None:
    """A wish that is passed over in silence is worse than an error."""
    for wish, option in WISHES.items():
        if wish not in chosen.reads and getattr(made, wish):
            readers = [name for name, other in PICTURE_RECIPES.items() if wish in other.reads]
            raise BadInput(f"the recipe {recipe} does not use {option}; choose {' or '.join(readers)}")
