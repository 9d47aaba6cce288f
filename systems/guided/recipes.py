"""From the branches of a picture to its ``Guidance``: one line of a table for each recipe of ``slipcast image``.

The recipes themselves are ``guidance.recipes``; here is which branch goes where, how the terms are called in
``--weight``, how strong they are by default, and which of the user's wishes each recipe listens to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...configs.plugins import look_up
from ...guidance.algebra import Branch, Guidance, OverTime, PerSample, Weight
from ...guidance.evaluation import GuidedNoise
from ...guidance.recipes import RECIPES, interval
from ...guidance.transforms import Rescaled
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
    "apg": PictureRecipe(
        "null + w_text [text - null, without its part along text]; null is the negative prompt if there is one",
        {"text": 7.5},
        lambda made, w: RECIPES["apg"](made.start, made.text, w["text"]),
        frozenset({"negatives"}),
    ),
    "rescale": PictureRecipe(
        "null + w_text (text - null), with 0.7 of the contrast of text",
        {"text": 7.5},
        lambda made, w: RECIPES["rescale"](made.start, made.text, w["text"]),
        frozenset({"negatives"}),
    ),
    "norm_cap": PictureRecipe(
        "null + w_text (text - null), never longer than text",
        {"text": 7.5},
        lambda made, w: RECIPES["norm_cap"](made.start, made.text, w["text"]),
        frozenset({"negatives"}),
    ),
    "cfg_zero_star": PictureRecipe(
        "s null + w_text (text - s null), s null the part of text along null",
        {"text": 7.5},
        lambda made, w: RECIPES["cfg_zero_star"](made.start, made.text, w["text"]),
        frozenset({"negatives"}),
    ),
    "magnitude_aware": PictureRecipe(
        "null + [1 + (w_text - 1) exp(-8 |text - null| / |null|)] (text - null)",
        {"text": 7.5},
        lambda made, w: RECIPES["magnitude_aware"](made.start, made.text, w["text"]),
        frozenset({"negatives"}),
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
