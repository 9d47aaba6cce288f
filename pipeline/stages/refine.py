"""Stage 30-refine: the field is repainted by score distillation of the same guided denoiser that drew the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from ...guidance.evaluation import GuidedNoise
from ...guidance.predictors import ConditionalDenoiser
from ...guidance.sampling import scheduler_named
from ...systems.field.cameras import orbit_camera, view_word
from ...systems.field.voxels import FrozenGrid
from ...systems.guided.balance import balanced
from ...systems.guided.branches import Extra, Ingredients, framed
from ...systems.guided.recipes import guided_noise_for, needs_domain, recipe_named
from ...systems.guided.remembered import RemembersTexts
from ...systems.guided.settled import until
from ...systems.images.files import read_subject
from ...systems.refine.checkpoint import CHECKPOINT_FILE
from ...systems.refine.loop import refine_field
from ...systems.refine.views import BACKGROUNDS, Colour, background_word
from ..run.prompt_syntax import notes_on
from ..run.prompts import prompts_of
from ..run.stage import StageContext
from .facts import RefineFacts


def run(ctx: StageContext) -> RefineFacts:
    """Write field.safetensors; checkpoints in the same folder let a stopped run go on bit for bit."""
    config, base = ctx.config.refine, ctx.models.base
    advance = ctx.progress.task("refining", config.steps)
    seen, last = 0, dict[str, float]()

    def report(done: int, total: int, losses: dict[str, float]) -> None:
        nonlocal seen, last
        advance(done - seen)  # a resumed run begins with one long stride
        seen, last = done, losses

    field = refine_field(
        FrozenGrid.load(ctx.inputs["lift/field.safetensors"]).to(base.device),
        denoiser_for=guided_views(ctx),
        encode=base.encode,
        reference=read_subject(ctx.inputs["image/image.png"]),
        reference_camera=orbit_camera(0.0, math.radians(ctx.config.image.elevation_deg)),
        config=config,
        seed=ctx.seed,
        progress=report,
        checkpoint_folder=ctx.folder,
        notice=ctx.progress.notice,
    )
    field.save(ctx.folder / "field.safetensors")
    (ctx.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return {"losses": {name: round(value, 6) for name, value in last.items()}}


def guided_views(ctx: StageContext) -> Callable[[Sequence[str], Sequence[Colour]], GuidedNoise]:
    """From the view words and backgrounds of one step to the recipe's denoiser, which tells each view its own."""
    config, wanted = ctx.config.refine, ctx.config.model

    def custom(path: str | None) -> ConditionalDenoiser | None:
        return None if path is None else ctx.models.custom(path, ctx.progress.notice)

    takes_model = wanted is not None and "model" in recipe_named(config.recipe).reads
    model = custom(wanted) if takes_model else None
    _note(ctx)
    made = Ingredients(
        base=RemembersTexts(ctx.models.base),
        prompt=ctx.prompt,
        domain=ctx.models.domain if needs_domain(config.recipe, model) else None,
        model=model,
        negatives=tuple(config.negative),
        wanted=config.wanted,
        unwanted=config.unwanted,
        extras={
            name: Extra(one.prompt, one.weight, custom(one.model)) for name, one in config.conditions.items()
        },
    )
    weights = _balanced(ctx, made) | config.weights

    def denoiser_for(views: Sequence[str], backgrounds: Sequence[Colour]) -> GuidedNoise:
        seen = zip(views, map(background_word, backgrounds), strict=True)
        framings = tuple(framed("", view, f"{background} background") for view, background in seen)
        return guided_noise_for(
            config.recipe,
            replace(made, framings=framings),
            weights,
            until(config),
            domain_strength=ctx.config.domain_strength,
        )

    return denoiser_for


def _balanced(ctx: StageContext, made: Ingredients) -> dict[str, float]:
    """The weights of domain and text that share what ``refine.balance`` says; nothing where it says nothing."""
    total, base = ctx.config.refine.balance, ctx.models.base
    if total is None:
        return {}
    scheduler = scheduler_named("ddim", base.pipeline.scheduler)
    return balanced(made, total, scheduler, base.latent_shape, device=base.device)


def _note(ctx: StageContext) -> None:
    """Say what is not read of the prompts, and what it is to have none."""
    seen = f"{view_word(0.0, 0.0)}, {background_word(BACKGROUNDS[1])} background"
    drawn = not ctx.config.image.picture  # then the picture's stage has told of the prompt
    for prompt in dict.fromkeys(([] if drawn else [ctx.prompt]) + prompts_of(ctx.config.refine)):
        for sentence in notes_on(prompt, ctx.models.base, seen):
            ctx.progress.notice(sentence)
    if not ctx.prompt:
        ctx.progress.notice(
            "there is no prompt, so refinement hears the empty text: what it paints is up to the domain, the picture "
            "and the lifted colours; a prompt beside --picture says what the object is"
        )
