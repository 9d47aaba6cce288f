"""The settings of ``make`` with nothing left open: what base and domain say, in the place of every null."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...configs.over_steps import exceeds
from ...configs.schema import MakeConfig, PaintConfig, RecipeConfig, RefineConfig
from ..models.known import NO_DOMAIN, domain_for
from ..models.uses import GENERAL, PICTURE, REFINE, Uses
from .recipes import recipe_named, refuse_unread, term_weights, without_domain, without_domain_notice

_WISHES = {
    "negative": "negatives",
    "wanted": "wanted",
    "unwanted": "unwanted",
    "conditions": "extras",
    "view_negatives": "other_views",
}
_DRAWING = ("control", "edit", "mask", "size", "conditions", "balance")


def settled(
    config: MakeConfig, uses: Uses, notice: Callable[[str], None] = lambda sentence: None
) -> MakeConfig:
    """The same settings with domain, words, sampler, every weight and paint filled in.

    Args:
        uses: what base and domain say of their use.
        notice: told of the recipe that takes the place of ``in_domain`` where there is no domain.
    Raises: BadInput for an unknown recipe, a weight or wish that a recipe does not know, or a model or a domain's
        strength that neither recipe would listen to.
    """
    _refuse_unheard(config)
    config = _with_domain(config, notice)
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
        paint=_paint(config, {**GENERAL.paint, **uses.paint}),
    )


def _paint(config: MakeConfig, own: Mapping[str, Any]) -> PaintConfig:
    """The settings of paint. Bare colours, which lit refinement makes, are left as they are: pictures show light."""
    if config.refine.light != "none":
        own = {**own, "steps": 0}
    open_ones = {name: value for name, value in own.items() if getattr(config.paint, name) is None}
    return replace(config.paint, **open_ones)


def until(group: RecipeConfig) -> dict[str, float]:
    """Noise fractions up to which terms are on, by name; empty where all are always on."""
    return ({"domain": group.domain_until} if group.domain_until < 1 else {}) | group.until


def _with_domain(config: MakeConfig, notice: Callable[[str], None]) -> MakeConfig:
    """With the domain that is meant, and recipes that do without where there is none."""
    domain = domain_for(config.base, config.domain)
    if domain is not None:
        return replace(config, domain=domain)
    image, refine = (
        replace(group, recipe=without_domain(group.recipe, group.conditions))
        for group in (config.image, config.refine)
    )
    taken = [
        new.recipe
        for new, old in ((image, config.image), (refine, config.refine))
        if new.recipe != old.recipe
    ]
    if taken:
        notice(without_domain_notice(config.base, " and ".join(dict.fromkeys(taken))))
    return replace(config, domain=NO_DOMAIN, image=image, refine=refine)


def _refuse_unheard(config: MakeConfig) -> None:
    """BadInput for settings that nobody would listen to."""
    image = config.image
    heard = [name for name in _DRAWING if getattr(image, name)] if image.picture else []
    if heard:
        raise BadInput(
            f"image.{heard[0]} says how to draw, and image.picture that nothing is drawn; leave one out"
        )
    if image.matting and not image.picture:
        raise BadInput("image.matting cuts out a picture of yours; give one with --picture")
    for name, one in config.refine.conditions.items():
        if one.control:
            raise BadInput(
                f"refine.conditions.{name}.control follows a picture, and refinement looks from all sides; "
                "leave it to image.conditions"
            )
    for name, group in (("image", image), ("refine", config.refine)):
        if group.balance is not None and group.recipe != "in_domain":
            raise BadInput(
                f"{name}.balance shares a weight between domain and text; it needs the recipe in_domain, "
                f"not {group.recipe}"
            )


def since(group: RecipeConfig) -> dict[str, float]:
    """Noise fractions from which up terms are on, by name; empty where all are always on."""
    return ({"domain": group.domain_since} if group.domain_since > 0 else {}) | group.since


def _check_intervals(group: RefineConfig, terms: Mapping[str, float]) -> None:
    """BadInput where a schedule of an interval is of no term, or turns an interval round."""
    high, low = {**until(group), **group.until_over_steps}, {**since(group), **group.since_over_steps}
    for setting in ("until_over_steps", "since_over_steps"):
        for term in getattr(group, setting):
            if term not in terms:
                raise unknown_name(f"term (refine.{setting})", term, terms)
            step = exceeds(low.get(term, 0.0), high.get(term, 1.0))
            if step is not None:
                raise BadInput(
                    f"refine.{setting}: the term {term} is never on at step {step}, since lies above until"
                )


def _weights(name: str, group: RecipeConfig, own: Mapping[str, float]) -> dict[str, Any]:
    """The settings of a group's weights: {"weights", "domain_weight", "text_weight"}, one number each term."""
    refuse_unread(
        group.recipe, {f"{name}.{one}": wish for one, wish in _WISHES.items() if getattr(group, one, None)}
    )
    short = {"domain": group.domain_weight, "text": group.text_weight}
    asked = {term: weight for term, weight in short.items() if weight is not None}
    for term in asked.keys() & group.weights.keys():
        if asked[term] != group.weights[term]:
            raise BadInput(
                f"{name}.{term}_weight={asked[term]} and {name}.weights say two things of the term {term}; "
                "leave one out"
            )
    given = {**asked, **group.weights}
    full = term_weights(group.recipe, given, own)
    if isinstance(group, RefineConfig):
        terms = [*full, *group.conditions]
        for setting in ("weights_over_steps", "heard_from"):
            for term in getattr(group, setting):
                if term not in terms:
                    raise unknown_name(f"term or condition (refine.{setting})", term, terms)
        _check_intervals(group, full)
    for which, ends, of_domain, always in (
        ("until", until(group), group.domain_until, 1),
        ("since", since(group), group.domain_since, 0),
    ):
        if unknown := sorted(ends.keys() - full.keys()):
            said = f"{which} {unknown[0]}" if of_domain == always else f"domain_{which}={of_domain}"
            raise BadInput(
                f"{name}.{said} changes nothing: the recipe {group.recipe} has no term {unknown[0]}"
            )
    if group.balance is not None:  # what is left out is measured on the models
        full = given
    return {"weights": full, "domain_weight": full.get("domain"), "text_weight": full.get("text")}
