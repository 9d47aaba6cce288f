"""Stage 30-refine: the field is repainted by score distillation of the same guided denoiser that drew the picture."""

from __future__ import annotations

import math

from ...configs.schema import RefineConfig
from ...systems.field.cameras import orbit_camera
from ...systems.field.voxels import FrozenGrid
from ...systems.images.files import read_subject
from ...systems.refine.checkpoint import CHECKPOINT_FILE
from ...systems.refine.loop import refine_field
from ..run.stage import StageContext
from .facts import RefineFacts
from .guided_views import guided_views


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
        denoiser_for=guided_views(ctx, config, quiet=_quiet(config)),
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


def _quiet(config: RefineConfig) -> tuple[float, float] | None:
    """Nothing where the weights are whole at all noise, or no noise is drawn at all."""
    return (config.guidance_at_0, config.t_max) if config.guidance_at_0 < 1 and config.t_max > 0 else None
