"""The guided denoiser of views of the object, each told its own words: what refinement and painting ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ...configs.schema import RecipeConfig
from ...guidance.conditioning import Control
from ...guidance.evaluation import GuidedNoise
from ...guidance.recipes import quieter
from ...systems.guided.branches import Ingredients, framed
from ...systems.guided.recipes import guided_noise_for, needs_domain, recipe_named
from ...systems.guided.remembered import RemembersTexts
from ...systems.guided.settled import until
from ...systems.refine.views import Colour, background_word
from ..run.stage import StageContext


def guided_views(
    ctx: StageContext,
    group: RecipeConfig,
    *,
    quiet: tuple[float, float] | None = None,
    controls: tuple[Control, ...] = (),
) -> Callable[[Sequence[str], Sequence[Colour]], GuidedNoise]:
    """From view words and backgrounds to the denoiser of a group's recipe, which tells each view its own.

    controls: what the text's branches follow, a picture for each view.
    quiet: the share of the weights at t = 0 and the fraction t from which they are whole: ``guidance.recipes.quieter``.
    """
    wanted = ctx.config.model
    takes_model = wanted is not None and "model" in recipe_named(group.recipe).reads
    model = ctx.models.custom(wanted, ctx.progress.notice) if takes_model else None
    made = Ingredients(
        base=RemembersTexts(ctx.models.base),
        prompt=ctx.prompt,
        domain=ctx.models.domain if needs_domain(group.recipe, model) else None,
        model=model,
        negatives=tuple(group.negative),
        wanted=group.wanted,
        unwanted=group.unwanted,
        controls=controls,
    )

    def denoiser_for(views: Sequence[str], backgrounds: Sequence[Colour]) -> GuidedNoise:
        seen = zip(views, map(background_word, backgrounds), strict=True)
        framings = tuple(framed("", view, f"{background} background") for view, background in seen)
        guided = guided_noise_for(
            group.recipe,
            replace(made, framings=framings),
            group.weights,
            until(group),
            domain_strength=ctx.config.domain_strength,
        )
        return guided if quiet is None else GuidedNoise(quieter(guided.guidance, *quiet))

    return denoiser_for
