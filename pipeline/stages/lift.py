"""Stage 20-lift: the picture becomes a first radiance field."""

from __future__ import annotations

from pathlib import Path

from ...systems.images.files import read_subject
from ...systems.lift.gridding import as_grid
from ...systems.lift.table import LiftTask, lift_named
from ..run.stage import StageContext
from .facts import LiftFacts


def run(ctx: StageContext) -> LiftFacts:
    """Write field.safetensors: occupancy and colour, front (-Y) towards the picture's camera."""
    pictures = [read_subject(path) for path in pictures_of(ctx)]
    settings, models = ctx.config.lift, ctx.models
    lift = lift_named(models.lift)
    if len(pictures) > 1 and not lift.several:
        ctx.progress.notice(
            f"the lift {models.lift} looks at the first of the {len(pictures)} pictures alone"
        )
    advance = ctx.progress.task("lifting the picture", 1)
    task = LiftTask(
        pictures,
        settings,
        models.folder("lift_model"),
        device=models.device,
        folder=ctx.folder,
        generator=ctx.generator(f"noise {settings.seed}"),
        notice=ctx.progress.notice,
    )
    lifted = lift.function(task)
    field = as_grid(lifted, settings.resolution)
    field.save(ctx.folder / "field.safetensors")
    advance()
    return {"solid_fraction": round(float((field.occupancy > 0.5).float().mean()), 5)}


def pictures_of(ctx: StageContext) -> list[Path]:
    """The pictures of the object, the front first."""
    front = ctx.inputs["image/image.png"]
    further = sorted(
        (path for name, path in ctx.inputs.items() if name.startswith("image/image-")),
        key=lambda path: int(path.stem.rpartition("-")[2]),
    )
    return [front, *further]
