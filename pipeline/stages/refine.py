"""Stage 30-refine: the field is repainted by score distillation of the same guided denoiser that drew the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ...guidance.evaluation import GuidedNoise
from ...systems.field.cameras import orbit_camera
from ...systems.field.voxels import FrozenGrid
from ...systems.guided.branches import Ingredients, framed
from ...systems.guided.recipes import guided_noise_for, needs_domain, recipe_named
from ...systems.guided.remembered import RemembersTexts
from ...systems.guided.settled import since, until
from ...systems.images.files import read_subject
from ...systems.refine.checkpoint import CHECKPOINT_FILE
from ...systems.refine.loop import refine_field
from ...systems.refine.views import Colour, background_word
from ..run.stage import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Write field.safetensors; checkpoints in the same folder let a stopped run go on bit for bit."""
    config, base = ctx.config.refine, ctx.models.base
    advance = ctx.progress.task("refining", config.steps)
    seen, last = 0, dict[str, float]()

    def report(done: int, total: int, losses: dict[str, float]) -> None:
        nonlocal seen, last
        advance(done - seen)  # a resumed run begins with one long stride
        seen, last = done, losses

    field = refine_field(
        FrozenGrid.load(ctx.inputs["lift"] / "field.safetensors").to(base.device),
        denoiser_for=guided_views(ctx),
        encode=base.encode,
        reference=read_subject(ctx.inputs["image"] / "image.png"),
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
    takes_model = wanted is not None and "model" in recipe_named(config.recipe).reads
    model = ctx.models.custom(wanted, ctx.progress.notice) if takes_model else None
    made = Ingredients(
        base=RemembersTexts(ctx.models.base_with_loras(ctx.progress.notice)),
        prompt=ctx.prompt,
        domain=ctx.models.domain if needs_domain(config.recipe, model) else None,
        model=model,
        negatives=tuple(config.negative),
        wanted=config.wanted,
        unwanted=config.unwanted,
    )

    def denoiser_for(views: Sequence[str], backgrounds: Sequence[Colour]) -> GuidedNoise:
        seen = zip(views, map(background_word, backgrounds), strict=True)
        framings = tuple(framed("", view, f"{background} background") for view, background in seen)
        return guided_noise_for(
            config.recipe,
            replace(made, framings=framings),
            config.weights,
            until(config),
            since=since(config),
            guidance_rescale=config.guidance_rescale,
            domain_strength=ctx.config.domain_strength,
        )

    return denoiser_for
