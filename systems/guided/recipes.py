"""From the branches of a picture to its ``Guidance``, by a recipe of the table: how strong each term is, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...guidance.algebra import Guidance, OverTime, PerSample
from ...guidance.evaluation import GuidedNoise
from ...guidance.recipes import interval
from ...guidance.transforms import Rescaled
from .branches import Ingredients
from .recipe_table import PICTURE_RECIPES, WISHES, PictureRecipe, recipe_named

__all__ = [
    "PICTURE_RECIPES",
    "PictureRecipe",
    "guided_noise_for",
    "needs_domain",
    "picture_guidance",
    "recipe_named",
    "refuse_unread",
    "term_weights",
    "without_domain",
    "without_domain_notice",
]


def term_weights(
    recipe: str, asked: Mapping[str, float], own: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The weight of every term of a recipe: what was asked for, else what base and domain say, else its own default.

    Args:
        own: what base and domain say, by term (``systems.models.uses.Uses``); others are passed over.
    Raises: BadInput for an unknown recipe or name of a weight, or a weight that is not a finite number.
    """
    known = recipe_named(recipe).weights
    for name, value in asked.items():
        if name not in known:
            raise unknown_name(f"weight of the recipe {recipe}", name, known)
        if not math.isfinite(value):
            raise BadInput(f"the weight {name} must be a finite number, not {value}")
    return {**known, **{name: value for name, value in (own or {}).items() if name in known}, **asked}


def needs_domain(recipe: str, model: object | None) -> bool:
    """Whether a recipe asks the domain, given the custom model or None."""
    chosen = recipe_named(recipe)
    return chosen.domain or ("model" in chosen.reads and model is None)


def without_domain(recipe: str, conditions: object) -> str:
    """What stands in for the default recipe where there is no domain: cfg, or composable if there are conditions."""
    if recipe != "in_domain":
        return recipe
    return "composable" if conditions else "cfg"


def without_domain_notice(base: str, recipe: str) -> str:
    """The sentence about it."""
    return (
        f"there is no domain beside the base {base!r}, so the recipe is {recipe}, which asks the base alone; "
        "--domain brings one"
    )


def picture_guidance(
    recipe: str,
    made: Ingredients,
    weights: Mapping[str, float],
    until: Mapping[str, float] | None = None,
    *,
    since: Mapping[str, float] | None = None,
    domain_strength: float = 1.0,
    guidance_rescale: float = 0.0,
    heard: Mapping[str, tuple[float, ...]] | None = None,
) -> Guidance:
    """The guidance of a recipe, for one picture or for a batch of views.

    Args:
        weights: by the names of the recipe's terms; what is left out has the recipe's default.
        until: noise fraction t / T up to which a term is on, by name.
        since: noise fraction t / T from which up a term is on, by name.
        domain_strength: factor on the weight of the term ``domain``, where there is one; 0 is the base alone.
        guidance_rescale: how much of the contrast of the branch of the prompt the sum is given, 0 to 1
            (``guidance.transforms.Rescaled``).
        heard: a factor for each view of a batch on the weight of a term, by name.
    Raises: BadInput for an unknown recipe or name of a weight, a weight that is not a finite number, or a recipe that
        lacks a model or a prompt.
    """
    chosen = recipe_named(recipe)
    refuse_unread(recipe, {WISHES[wish]: wish for wish in WISHES if getattr(made, wish)})
    numbers = term_weights(recipe, weights)
    full: dict[str, OverTime] = {
        name: weight * domain_strength if name == "domain" else weight for name, weight in numbers.items()
    }
    first, last = since or {}, until or {}
    for name in dict.fromkeys([*first, *last]):
        low, high = first.get(name, 0.0), last.get(name, 1.0)
        if name not in full:
            raise unknown_name(f"weight of the recipe {recipe}", name, full)
        for word, end in (("since", low), ("until", high)):
            if not 0 <= end <= 1:
                raise BadInput(f"{word} {name} lies between 0 and 1, not {end}")
        if low > high:
            raise BadInput(f"the term {name} is never on: since {low} lies above until {high}")
        full[name] = interval(full[name], low, high)
    by_view = {name: PerSample(full[name], factors) for name, factors in (heard or {}).items()}
    try:
        return _rescaled(recipe, chosen.build(made, full | by_view), made, guidance_rescale)
    except ValueError as error:  # two branches of one name, and the like: the user's names meet the recipe's
        raise BadInput(str(error)) from error


def _rescaled(recipe: str, guidance: Guidance, made: Ingredients, phi: float) -> Guidance:
    """The same with the contrast of the branch of the prompt: of the base, else of the custom model or the domain."""
    if not phi:
        return guidance
    if guidance.final is not None:
        raise BadInput(
            f"the recipe {recipe} changes the finished prediction itself; take guidance_rescale={phi} out or choose cfg"
        )
    named = {branch.name: branch for branch in guidance.branches}
    like = next(named[name] for name in ("text", "model", "domain") if name in named)
    return replace(guidance, final=Rescaled(like, phi))


def guided_noise_for(
    recipe: str,
    made: Ingredients,
    weights: Mapping[str, float],
    until: Mapping[str, float] | None = None,
    **more: Any,
) -> GuidedNoise:
    """The guided denoiser of a recipe, which 2-D sampling and score distillation share; see ``picture_guidance``."""
    return GuidedNoise(picture_guidance(recipe, made, weights, until, **more))


def refuse_unread(recipe: str, given: Mapping[str, str]) -> None:
    """BadInput for the first wish, {as the user calls it: as in ``WISHES``}, that a recipe does not read.

    A wish that is passed over in silence is worse than an error.
    """
    reads = recipe_named(recipe).reads
    for called, wish in given.items():
        if wish not in reads:
            readers = [name for name, other in PICTURE_RECIPES.items() if wish in other.reads]
            raise BadInput(f"the recipe {recipe} does not use {called}; choose {' or '.join(readers)}")
