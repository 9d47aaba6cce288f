"""The settings of ``make`` with nothing left open: what base and domain say, in the place of every null."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...configs.errors import BadInput
from ...configs.schema import MakeConfig, RecipeConfig
from ..models.known import PICTURE, REFINE, Uses
from .recipes import recipe_named, refuse_unread, term_weights

_WISHES = {"negative": "negatives", "wanted": "wanted", "unwanted": "unwanted"}


def settled(config: MakeConfig, uses: Uses) -> MakeConfig:
    """The same settings with words, sampler and every weight filled in.

    Args:
        uses: what base and domain say of their use.
    Raises: BadInput for an unknown recipe, a weight or wish that a recipe does not know, or a model or a domain's
        strength that neither recipe would listen to.
    """
    recipes = [recipe_named(group.recipe) for group in (config.image, config.refine)]
    if config.model is not None and not any("model" in one.reads for one in recipes):
        refuse_unread(config.image.recipe, {f"model={config.model}": "model"})
    if config.domain_strength != 1 and not any("domain" in one.weights for one in recipes):
        raise BadInput(
            f"domain_strength={config.domain_strength} changes nothing: neither the recipe {config.image.recipe} nor "
            f"{config.refine.recipe} has a term domain; choose in_domain"
        )
    image = {name: getattr(config.image, name) for name in ("view", "background", "scheduler")}
    image = {name: getattr(uses, name) if value is None else value for name, value in image.items()}
    return replace(
        config,
        image=replace(
            config.image, **image, **_weights("image", config.image, uses.weights.get(PICTURE, {}))
        ),
        refine=replace(config.refine, **_weights("refine", config.refine, uses.weights.get(REFINE, {}))),
    )


def until(group: RecipeConfig) -> dict[str, float]:
    """Noise fractions up to which terms are on, by name; empty where all are always on."""
    return {"domain": group.domain_until} if group.domain_until < 1 else {}


def since(group: RecipeConfig) -> dict[str, float]:
    """Noise fractions from which up terms are on, by name; empty where all are always on."""
    return {"domain": group.domain_since} if group.domain_since > 0 else {}


def _weights(name: str, group: RecipeConfig, own: Mapping[str, float]) -> dict[str, Any]:
    """The settings of a group's weights: {"weights", "domain_weight", "text_weight"}, one number each term."""
    refuse_unread(
        group.recipe, {f"{name}.{one}": wish for one, wish in _WISHES.items() if getattr(group, one)}
    )
    short = {"domain": group.domain_weight, "text": group.text_weight}
    asked = {term: weight for term, weight in short.items() if weight is not None}
    for term in asked.keys() & group.weights.keys():
        if asked[term] != group.weights[term]:
            raise BadInput(
                f"{name}.{term}_weight={asked[term]} and {name}.weights say two things of the term {term}; "
                "leave one out"
            )
    full = term_weights(group.recipe, {**asked, **group.weights}, own)
    for setting, ends in (("domain_until", until(group)), ("domain_since", since(group))):
        if ends.keys() - full.keys():
            raise BadInput(
                f"{name}.{setting}={getattr(group, setting)} changes nothing: "
                f"the recipe {group.recipe} has no term domain"
            )
    return {"weights": full, "domain_weight": full.get("domain"), "text_weight": full.get("text")}
