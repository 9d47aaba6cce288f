"""Stage 30-refine: score distillation of the same guided denoiser that drew the picture, on the lifted field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...guidance.evaluation import GuidedNoise
from ...systems.field.cameras import orbit_camera
from ...systems.field.voxels import FrozenGrid
from ...systems.guided.in_domain import Weights, in_domain_noise
from ...systems.guided.remembered import RemembersTexts
from ...systems.refine.checkpoint import CHECKPOINT_FILE
from ...systems.refine.loop import refine_field
from ...systems.refine.views import Colour, background_word
from ...systems.types import SubjectImage
from ..run.stage import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Write field.safetensors; checkpoints in the same folder let a stopped run go on bit for bit."""
    config, base, domain = ctx.config.refine, ctx.models.base, ctx.models.domain
    speaker = RemembersTexts(base)
    weights = Weights(config.domain_weight, config.text_weight, config.domain_until)

    def denoiser_for(views: Sequence[str], backgrounds: Sequence[Colour]) -> GuidedNoise:
        seen = zip(views, map(background_word, backgrounds), strict=True)
        prompts = [f"{ctx.prompt}, {view}, {background} background" for view, background in seen]
        return in_domain_noise(speaker, domain, prompts, weights)

    advance = ctx.progress.task("refining", config.steps)
    seen, last = 0, dict[str, float]()

    def report(done: int, total: int, losses: dict[str, float]) -> None:
        nonlocal seen, last
        advance(done - seen)  # a resumed run begins with one long stride
        seen, last = done, losses

    field = refine_field(
        FrozenGrid.load(ctx.inputs["lift"] / "field.safetensors").to(base.device),
        denoiser_for=denoiser_for,
        encode=base.encode,
        reference=SubjectImage.load(ctx.inputs["image"] / "image.png"),
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
