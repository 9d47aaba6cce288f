"""The guided denoiser of views of the object, each told its own words: what refinement and painting ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ...configs.errors import BadInput
from ...configs.schema import RecipeConfig
from ...guidance.conditioning import Control
from ...guidance.evaluation import GuidedNoise
from ...guidance.predictors import ConditionalDenoiser
from ...guidance.recipes import noise_free, quieter
from ...systems.guided.balance import balanced
from ...systems.guided.branches import Extra, Ingredients, framed
from ...systems.guided.recipes import guided_noise_for, needs_domain, recipe_named
from ...systems.guided.remembered import RemembersTexts
from ...systems.guided.settled import since, until
from ...systems.refine.views import Colour, background_word
from ..run.stage import StageContext


def guided_views(
    ctx: StageContext,
    group: RecipeConfig,
    *,
    quiet: tuple[float, float] | None = None,
    score: str = "sds",
    controls: tuple[Control, ...] = (),
) -> Callable[[Sequence[str], Sequence[Colour]], GuidedNoise]:
    """From view words and backgrounds to the denoiser of a group's recipe, which tells each view its own.

    controls: what the text's branches follow, a picture for each view.
    quiet: the share of the weights at t = 0 and the fraction t from which they are whole: ``guidance.recipes.quieter``.
    score: what distillation will follow (``guidance.distillation.SCORES``); nfsd keeps the negative prompt for itself.
    """
    wanted = ctx.config.model

    def custom(path: str | None) -> ConditionalDenoiser | None:
        return None if path is None else ctx.models.custom(path, ctx.progress.notice)

    takes_model = wanted is not None and "model" in recipe_named(group.recipe).reads
    model = custom(wanted) if takes_model else None
    made = Ingredients(
        base=RemembersTexts(ctx.models.base_with_loras(ctx.progress.notice)),
        prompt=ctx.prompt,
        domain=ctx.models.domain if needs_domain(group.recipe, model) else None,
        model=model,
        negatives=tuple(group.negative),
        wanted=group.wanted,
        unwanted=group.unwanted,
        extras={
            name: Extra(
                one.prompt,
                one.weight,
                custom(one.model),
                images=ctx.models.image_prompts(one.image_prompt),
            )
            for name, one in group.conditions.items()
        },
        controls=controls,
        images=ctx.models.image_prompts(ctx.config.image_prompt),
    )
    weights = _balanced(ctx, made, group.balance) | group.weights
    ugly = (", ".join(made.negatives),) if score == "nfsd" and made.negatives else ()
    if score == "nfsd":
        if not ugly:
            raise BadInput(
                "refine.score=nfsd needs refine.negative, words for what pictures should not be, such as "
                "refine.negative=['blurry, low quality']"
            )
        made = replace(made, negatives=())

    def denoiser_for(views: Sequence[str], backgrounds: Sequence[Colour]) -> GuidedNoise:
        seen = zip(views, map(background_word, backgrounds), strict=True)
        framings = tuple(framed("", view, f"{background} background") for view, background in seen)
        here = replace(made, framings=framings)
        guided = guided_noise_for(
            group.recipe,
            here,
            weights,
            until(group),
            since=since(group),
            guidance_rescale=group.guidance_rescale,
            domain_strength=ctx.config.domain_strength,
        )
        guidance = guided.guidance if quiet is None else quieter(guided.guidance, *quiet)
        for branch in replace(here, negatives=ugly).negative() if ugly else ():
            guidance = noise_free(guidance, branch)
        return GuidedNoise(guidance)

    return denoiser_for


def _balanced(ctx: StageContext, made: Ingredients, total: float | None) -> dict[str, float]:
    """The weights of domain and text that share a total by the norm rule; nothing where there is none to share."""
    base = ctx.models.base
    if total is None:
        return {}
    scheduler = base.sampler("ddim")
    return balanced(made, total, scheduler, base.latent_shape, device=base.device)
