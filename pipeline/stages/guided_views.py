"""The guided denoiser of views of the object, each told its own words: what refinement and painting ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...configs.errors import BadInput
from ...configs.schema import RecipeConfig
from ...guidance.algebra import Guidance
from ...guidance.conditioning import Control
from ...guidance.evaluation import GuidedNoise, Watch
from ...guidance.predictors import ConditionalDenoiser
from ...guidance.recipes import noise_free, quieter
from ...guidance.sampling import scheduler_named
from ...systems.guided.balance import balanced
from ...systems.guided.branches import Extra, Ingredients, framed
from ...systems.guided.recipes import guided_noise_for, needs_domain, recipe_named
from ...systems.guided.remembered import RemembersTexts
from ...systems.guided.settled import since, until
from ...systems.refine.views import Colour, background_word
from ..run.stage import StageContext


@dataclass(frozen=True)
class GuidedViews:
    """From view words and backgrounds to the denoiser of a group's recipe, which tells each view its own."""

    made: Ingredients
    weights: Mapping[str, float]
    group: RecipeConfig
    domain_strength: float
    quiet: tuple[float, float] | None
    ugly: tuple[str, ...]

    def __call__(self, views: Sequence[str], backgrounds: Sequence[Colour]) -> GuidedNoise:
        seen = zip(views, map(background_word, backgrounds), strict=True)
        return self.told([framed("", view, f"{background} background") for view, background in seen])

    def told(
        self,
        framings: Sequence[str],
        *,
        prompt: str | None = None,
        weights: Mapping[str, float] | None = None,
        watch: Callable[[Guidance], Watch] | None = None,
    ) -> GuidedNoise:
        """The denoiser of a batch of views.

        Args:
            framings: words added to the prompt, one text for each view; an empty one adds none.
            prompt: another one than that of the settings.
            weights: by the names of the recipe's terms, in the place of the settings' own.
            watch: makes, of the guidance, what looks at its branches' answers (``GuidedNoise``).
        Raises: BadInput for an unknown weight, or one that is not a finite number.
        """
        here = replace(
            self.made, framings=tuple(framings), prompt=self.made.prompt if prompt is None else prompt
        )
        guidance = guided_noise_for(
            self.group.recipe,
            here,
            {**self.weights, **(weights or {})},
            until(self.group),
            since=since(self.group),
            guidance_rescale=self.group.guidance_rescale,
            domain_strength=self.domain_strength,
        ).guidance
        guidance = guidance if self.quiet is None else quieter(guidance, *self.quiet)
        for branch in replace(here, negatives=self.ugly).negative() if self.ugly else ():
            guidance = noise_free(guidance, branch)
        return GuidedNoise(guidance, watch=None if watch is None else watch(guidance))


def distilled_views(ctx: StageContext) -> GuidedViews:
    """What refinement asks: the recipe and score of the settings ``refine``."""
    config = ctx.config.refine
    # Nothing is quieter where the weights are whole at all noise, or no noise is drawn at all.
    quiet = (config.guidance_at_0, config.t_max) if config.guidance_at_0 < 1 and config.t_max > 0 else None
    return guided_views(ctx, config, quiet=quiet, score=config.score)


def guided_views(
    ctx: StageContext,
    group: RecipeConfig,
    *,
    quiet: tuple[float, float] | None = None,
    score: str = "sds",
    controls: tuple[Control, ...] = (),
) -> GuidedViews:
    """The denoiser of a group's recipe for views, its models loaded.

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

    return GuidedViews(made, weights, group, ctx.config.domain_strength, quiet, ugly)


def _balanced(ctx: StageContext, made: Ingredients, total: float | None) -> dict[str, float]:
    """The weights of domain and text that share a total by the norm rule; nothing where there is none to share."""
    base = ctx.models.base
    if total is None:
        return {}
    scheduler = scheduler_named("ddim", base.pipeline.scheduler)
    return balanced(made, total, scheduler, base.latent_shape, device=base.device)
