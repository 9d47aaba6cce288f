"""The guided denoiser of views of the object, each told its own words: what refinement and painting ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...configs.errors import BadInput
from ...configs.schema import RecipeConfig, RefineConfig
from ...guidance.conditioning import Condition, Control
from ...guidance.evaluation import GuidedNoise
from ...guidance.predictors import ConditionalDenoiser
from ...guidance.recipes import noise_free
from ...systems.guided.balance import balanced
from ...systems.guided.branches import Extra, Ingredients, framed
from ...systems.guided.recipes import needs_domain, picture_guidance, recipe_named
from ...systems.guided.remembered import RemembersTexts
from ...systems.guided.settled import since, until
from ...systems.refine.views import Colour, background_word
from ..run.stage import StageContext
from .refine_guidance import at_step, interval_at, other_views, put_together


@dataclass(frozen=True)
class GuidedViews:
    """From view words and backgrounds to the denoiser of a group's recipe, which tells each view its own.

    Attributes:
        made: models and prompts; ``ugly`` are words that noise-free distillation stays away from.
        group: of refinement, it changes over the steps.
    """

    made: Ingredients
    weights: Mapping[str, float]
    group: RecipeConfig
    domain_strength: float
    ugly: tuple[str, ...] = ()
    step: int = 0
    azimuths_rad: Sequence[float] = ()

    def at(self, step: int, azimuths_rad: Sequence[float] = ()) -> GuidedViews:
        """As it is at a step of refinement, for views from these azimuths."""
        return replace(self, step=step, azimuths_rad=azimuths_rad)

    def __call__(self, views: Sequence[str], backgrounds: Sequence[Colour]) -> GuidedNoise:
        """The guided denoiser of a batch, one view and background each."""
        others = {}
        if isinstance(self.group, RefineConfig):
            grounds = _grounds(backgrounds)
            others = other_views(self.group.view_negatives, views, self.azimuths_rad, grounds)
        framings = _framings(views, backgrounds)
        return replace(self, made=replace(self.made, other_views=others)).told(framings, views=views)

    def prompted(self, views: Sequence[str], backgrounds: Sequence[Colour]) -> Condition:
        """What the branch of the prompt is told of a batch, one view and background each."""
        return replace(self.made, framings=tuple(_framings(views, backgrounds))).text.condition

    def told(
        self,
        framings: Sequence[str],
        *,
        views: Sequence[str] | None = None,
        prompt: str | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> GuidedNoise:
        """The guided denoiser of a batch whose views are told in any words.

        Args:
            framings: words added to the prompt, one text for each view; an empty one adds none.
            views: by which words a term is heard or not (``refine.heard_from``); the framings where left out.
            prompt: another one than that of the settings.
            weights: by the names of the recipe's terms, in the place of the settings' own and of their schedules.
        Raises: BadInput for an unknown weight, or one that is not a finite number.
        """
        group, heard = self.group, dict[str, tuple[float, ...]]()
        made = replace(
            self.made, framings=tuple(framings), prompt=self.made.prompt if prompt is None else prompt
        )
        told = dict(self.weights)
        high, low = until(group), since(group)
        if isinstance(group, RefineConfig):
            made, told, heard = at_step(made, told, group, self.step, framings if views is None else views)
            high, low = interval_at(group, self.step)
        told |= weights or {}
        guidance = picture_guidance(
            group.recipe,
            made,
            told,
            high,
            since=low,
            guidance_rescale=group.guidance_rescale,
            domain_strength=self.domain_strength,
            heard=heard,
        )
        if isinstance(group, RefineConfig):
            guidance = put_together(guidance, group, self.step)
        for branch in replace(made, negatives=self.ugly).negative() if self.ugly else ():
            guidance = noise_free(guidance, branch)
        return GuidedNoise(guidance)


def _grounds(backgrounds: Sequence[Colour]) -> list[str]:
    return [f"{background_word(one)} background" for one in backgrounds]


def _framings(views: Sequence[str], backgrounds: Sequence[Colour]) -> list[str]:
    """The words for how each view is seen."""
    return [framed("", *pair) for pair in zip(views, _grounds(backgrounds), strict=True)]


def guided_views(
    ctx: StageContext, group: RecipeConfig, *, controls: tuple[Control, ...] = ()
) -> GuidedViews:
    """The guided views of a stage.

    Args:
        group: whose recipe is asked; that of refinement brings its score along, of which nfsd keeps the negative prompt
            for itself.
        controls: what the text's branches follow, a picture for each view.
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
    ugly: tuple[str, ...] = ()
    if isinstance(group, RefineConfig) and group.score == "nfsd":
        if not made.negatives:
            raise BadInput(
                "refine.score=nfsd needs refine.negative, words for what pictures should not be, such as "
                "refine.negative=['blurry, low quality']"
            )
        if group.combine in ("balance", "project"):
            raise BadInput(
                f"refine.combine={group.combine} would change what refine.score=nfsd puts in the base's place; "
                "choose another of the two"
            )
        made, ugly = replace(made, negatives=()), (", ".join(made.negatives),)
    return GuidedViews(made, weights, group, ctx.config.domain_strength, ugly)


def _balanced(ctx: StageContext, made: Ingredients, total: float | None) -> dict[str, float]:
    """The weights of domain and text that share a total by the norm rule; nothing where there is none to share."""
    base = ctx.models.base
    if total is None:
        return {}
    scheduler = base.sampler("ddim")
    return balanced(made, total, scheduler, base.latent_shape, device=base.device)
