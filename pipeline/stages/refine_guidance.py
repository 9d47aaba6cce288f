"""What refinement does to its recipe beyond drawing with it: over the steps, by views, in how terms come together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...configs.over_steps import number_at
from ...configs.schema import RefineConfig
from ...guidance.algebra import Guidance, PerSample
from ...guidance.combining import COMBINATIONS, alternated
from ...guidance.recipes import quieter
from ...guidance.view_negatives import view_negatives
from ...systems.field.cameras import VIEW_WORDS
from ...systems.guided.branches import Extra, Ingredients, OtherView, framed
from ...systems.guided.settled import since, until


def at_step(
    made: Ingredients, weights: Mapping[str, float], config: RefineConfig, step: int, views: Sequence[str]
) -> tuple[Ingredients, dict[str, float], dict[str, tuple[float, ...]]]:
    """Models and prompts, weights of the recipe's terms, and 1 or 0 for each view by which a term is heard or not.

    Args:
        weights: of the recipe's terms, as they are without a schedule.
        views: the words of each view, as prompts call them.
    """
    now = {name: number_at(schedule, step) for name, schedule in config.weights_over_steps.items()}
    heard = {
        name: tuple(float(view in [VIEW_WORDS[one] for one in chosen]) for view in views)
        for name, chosen in config.heard_from.items()
    }

    def settled(name: str, one: Extra) -> Extra:
        weight = now.get(name, one.weight)
        return replace(one, weight=PerSample(weight, heard[name]) if name in heard else weight)

    extras = {name: settled(name, one) for name, one in made.extras.items()}
    mine = {name: weight for name, weight in now.items() if name not in extras}
    return (
        replace(made, extras=extras),
        {**weights, **mine},
        {name: factors for name, factors in heard.items() if name not in extras},
    )


def interval_at(config: RefineConfig, step: int) -> tuple[dict[str, float], dict[str, float]]:
    """The noise fractions up to which, and from which up, terms are on at a step, by name."""
    high, low = (
        {**plain, **{name: number_at(schedule, step) for name, schedule in schedules.items()}}
        for plain, schedules in (
            (until(config), config.until_over_steps),
            (since(config), config.since_over_steps),
        )
    )
    return high, low


def other_views(
    factor: float, views: Sequence[str], azimuths_rad: Sequence[float], grounds: Sequence[str]
) -> dict[str, OtherView]:
    """The views that each view is to stay away from (Perp-Neg); none where the factor is 0, and none from above.

    Args:
        grounds: what is said of each view's background.
    """
    if not factor:
        return {}
    laws = [view_negatives(azimuth) for azimuth in azimuths_rad]
    return {
        VIEW_WORDS[other]: OtherView(
            tuple(framed("", VIEW_WORDS[other], ground) for ground in grounds),
            tuple(
                factor * law[other] * (view != VIEW_WORDS["above"])
                for law, view in zip(laws, views, strict=True)
            ),
        )
        for other in ("front", "side")
    }


def put_together(guidance: Guidance, config: RefineConfig, step: int) -> Guidance:
    """Quieter at low noise, where that is asked, and its terms combined."""
    share, whole_from = number_at(config.guidance_at_0, step), number_at(config.t_max, step)
    if share < 1 and whole_from > 0:
        guidance = quieter(guidance, share, whole_from)
    if config.combine == "alternate":
        return alternated(guidance, step)
    return replace(guidance, combination=COMBINATIONS.get(config.combine))
