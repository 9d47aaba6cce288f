"""Stage 30-refine: the field is repainted by score distillation of the same guided denoiser that drew the picture."""

from __future__ import annotations

import math

from ...systems.field.cameras import orbit_camera, view_word
from ...systems.field.voxels import FrozenGrid
from ...systems.images.files import read_subject
from ...systems.refine.checkpoint import CHECKPOINT_FILE
from ...systems.refine.loop import refine_field
from ...systems.refine.views import BACKGROUNDS, background_word
from ..run.prompt_syntax import notes_on
from ..run.prompts import prompts_of
from ..run.stage import StageContext
from .facts import RefineFacts
from .guided_views import guided_views
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
    field = refine_field(
        FrozenGrid.load(ctx.inputs["lift/field.safetensors"]).to(base.device),
        denoiser_for=guided_views(ctx, config),
        encode=base.encode if tiny is None else tiny.encode,
        full_encode=None if tiny is None else base.encode,
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
    (ctx.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    facts: RefineFacts = {"losses": {name: round(value, 6) for name, value in last.items()}}
    if notes:
        facts["notes"] = notes
    return facts


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
