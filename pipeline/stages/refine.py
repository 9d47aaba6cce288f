"""Stage 30-refine: the field is repainted by score distillation of the same guided denoiser that drew the picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...guidance.variational import RenderModel
from ...systems.field.cameras import orbit_camera, view_word
from ...systems.field.voxels import FrozenGrid
from ...systems.images.files import read_subject
from ...systems.refine.checkpoint import CHECKPOINT_FILE, KEPT_FILE
from ...systems.refine.loop import refine_field
from ...systems.refine.own_model import NUMBERS, RendersOfField
from ...systems.refine.views import BACKGROUNDS, background_word
from ..run.prompt_syntax import notes_on
from ..run.prompts import prompts_of
from ..run.stage import StageContext
from .facts import RefineFacts
from .guided_views import GuidedViews, guided_views
from .lift import chosen_picture
from .watching import Watch


def run(ctx: StageContext) -> RefineFacts:
    """Write field.safetensors and, for people, curve.csv, log.jsonl and progress.png, and preview.png as it goes.

    Checkpoints let a stopped run go on bit for bit.
    """
    config, base, tiny = ctx.config.refine, ctx.models.base, ctx.models.tiny_encoder
    advance = ctx.progress.task("refining", config.steps)
    seen, last = 0, dict[str, float]()

    def report(done: int, total: int, losses: dict[str, float]) -> None:
        nonlocal seen, last
        # A resumed run begins with one long stride, and one that goes back after a collapse stands still for a while.
        advance(max(0, done - seen))
        seen, last = max(seen, done), losses

    def notice(sentence: str) -> None:
        notes.append(sentence)
        ctx.progress.notice(sentence)

    notes = list[str]()
    watch = Watch(ctx.folder, math.radians(ctx.config.image.elevation_deg), config.samples)
    note_what_is_not_read(ctx)
    views = guided_views(ctx, config)
    with model_of_renders(ctx, views) as own_model:
        field = refine_field(
            FrozenGrid.load(ctx.inputs["lift/field.safetensors"]).to(base.device),
            denoiser_for=views,
            encode=base.encode if tiny is None else tiny.encode,
            full_encode=None if tiny is None else base.encode,
            own_model=own_model,
            reference=read_subject(chosen_picture(ctx)),
            reference_camera=orbit_camera(0.0, math.radians(ctx.config.image.elevation_deg)),
            config=config,
            seed=ctx.seed,
            progress=report,
            checkpoint_folder=ctx.folder,
            notice=notice,
            watch=watch,
        )
    watch.end()
    field.save(ctx.folder / "field.safetensors")
    for name in (CHECKPOINT_FILE, KEPT_FILE):
        (ctx.folder / name).unlink(missing_ok=True)
    facts: RefineFacts = {"losses": {name: round(value, 6) for name, value in last.items()}}
    if notes:
        facts["notes"] = notes
    return facts


@contextmanager
def model_of_renders(ctx: StageContext, views: GuidedViews) -> Iterator[RendersOfField | None]:
    """What ``refine.score=vsd`` compares with, a LoRA in the base while the stage works; None for other scores."""
    config, base = ctx.config.refine, views.made.base
    if config.score != "vsd":
        yield None
        return
    prior: Any = base.predictor  # whether it has a network to put something in is looked at there
    model = RenderModel(
        prior,
        rank=config.vsd_rank,
        rate=config.vsd_lr,
        cameras=NUMBERS,
        seed=ctx.seed,
        device=ctx.models.base.device,
    )
    try:
        if not model.hears_cameras:
            ctx.progress.notice(
                f"the network of {base.name!r} has no one place for cameras: the LoRA of refine.score=vsd knows views "
                "by their words alone"
            )
        yield RendersOfField(model, views.prompted, config.vsd_steps)
    finally:
        model.close()


def note_what_is_not_read(ctx: StageContext) -> None:
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
