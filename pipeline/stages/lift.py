"""Stage 20-lift: the picture becomes a first radiance field."""

from __future__ import annotations

from ...systems.images.files import read_subject
from ...systems.lift.gridding import as_grid
from ...systems.lift.table import lift_named
from ..run.stage import StageContext
from .facts import LiftFacts


def run(ctx: StageContext) -> LiftFacts:
    """Write field.safetensors: occupancy and colour, front (-Y) towards the picture's camera."""
    subject = read_subject(ctx.inputs["image/image.png"])
    settings, models = ctx.config.lift, ctx.models
    advance = ctx.progress.task("lifting the picture", 1)
    source = models.folder("lift_model")
    lifted = lift_named(models.lift).function(subject, settings, source, models.device)
    field = as_grid(lifted, settings.resolution)
    field.save(ctx.folder / "field.safetensors")
    advance()
    return {"solid_fraction": round(float((field.occupancy > 0.5).float().mean()), 5)}
