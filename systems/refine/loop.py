"""Refinement: a lifted field gets its colours and shape anew by score distillation, held to the picture it came from.

Each step renders a few views before plain backgrounds, encodes them to latents, and adds up

    score distillation of the guided denoiser       (``guidance.distillation``; no guidance arithmetic here)
  + the front view's error against the picture      (colour and coverage)
  + the field's own terms                           (``TrainableField.shape_losses``),

then takes one step of Adam. All random draws of a step come from (seed, 'refine', step) and everything else that a step
depends on is in the checkpoint, so that a resumed run equals an uninterrupted one bit for bit on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...configs.errors import SlipcastError
from ...configs.limits import check_refine
from ...configs.names import unknown_name
from ...configs.schema import RefineConfig
from ..field.cameras import Camera
from ..field.voxels import VoxelField
from ..types import RadianceField, SubjectImage
from .health import Collapsed
from .log import Log
from .noise import NOISES
from .refinement import Refinement
from .step import DenoiserFor, Encode, OwnModel
from .target import Target
from .trainable import trainable_field


def refine_field(
    init: RadianceField,
    *,
    denoiser_for: DenoiserFor,
    encode: Encode,
    full_encode: Encode | None = None,
    own_model: OwnModel | None = None,
    reference: SubjectImage,
    reference_camera: Camera,
    config: RefineConfig,
    seed: int,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
    checkpoint_folder: Path | None = None,
    notice: Callable[[str], None] | None = None,
    watch: Callable[[RadianceField], None] | None = None,
) -> VoxelField:
    """Refine a field.

    Args:
        init: what the lift stage made; any field. It is not changed, and refined on its device.
        denoiser_for: the guided denoiser for view words and background colours; it may change over the steps
            (``ChangesOverSteps``).
        encode: pictures [V, 3, size, size], sRGB in [0, 1] -> latents [V, C, h, w], differentiable.
        full_encode: what ``encode`` stands in for; the log says how alike their gradients are.
        own_model: of the field's renders, for ``refine.score=vsd``; it is taught on the way.
        reference: square picture of the subject, and reference_camera: where it was taken from.
        config: ``configs.schema.RefineConfig``; with steps = 0 a copy of ``init`` is returned.
        seed: of every random draw.
        progress: called after each step with (steps done, steps in all, losses by name).
        checkpoint_folder: where to keep a checkpoint every ``config.checkpoint_every`` steps, and look for one first.
            The course of the losses (``curve``) is left there, too, and a ``log`` of every step.
        notice: told in a sentence if there is a checkpoint that is damaged or another refinement's. It is passed over,
            and the refinement starts anew. Told as well if the refinement collapses (``health``): once it goes back to
            its last checkpoint and on with smaller steps, then it ends with that checkpoint's field. Without
            ``notice`` either is an error.
        watch: called after each step with the field as the next one would show it, to look at and to leave as it is.
    Raises:
        BadInput: settings contradict each other, or name a field or a noise that there is not.
        SlipcastError: a loss is not finite (names the step), or a checkpoint cannot be written, or not read either.
    """
    _check(config)
    if config.steps == 0:
        return VoxelField.from_field(init, config.resolution)
    field = trainable_field(config.field)(init, config)
    device = next(iter(field.trained().values())).parameter.device
    refinement = Refinement(
        field,
        Target(reference, reference_camera, config.size, device),
        denoiser_for,
        encode,
        config,
        seed,
        full_encode,
        own_model,
    )
    first = 0
    refinement.keep(0, {})
    if checkpoint_folder is not None:
        try:
            first = refinement.load(checkpoint_folder)
        except SlipcastError as error:
            if notice is None:
                raise
            refinement.back()
            notice(f"the refinement starts anew, for its checkpoint is of no use: {error}")
    log = None if checkpoint_folder is None else Log(checkpoint_folder, first, device)
    for sentence in refinement.health.said:
        if notice is not None:  # of what became of the run that this one goes on with
            notice(sentence)
    index, over = first, False
    while index < config.steps and not over:
        try:
            losses = refinement.step(index)
        except Collapsed as collapse:
            if notice is None:
                raise
            over = refinement.health.said != []
            index, losses = refinement.back()
            if over and index == 0:
                raise SlipcastError(
                    f"{collapse}; that was the second time in the first {refinement.kept_every} steps"
                ) from collapse
            notice(refinement.health.take_down(collapse, index))
            if log is not None:
                log.cut(index)
        else:
            index += 1
            if log is not None:
                log.add(index - 1, losses, refinement.measured)
            if index % refinement.kept_every == 0:
                refinement.keep(index, losses)
            if log is not None and checkpoint_folder is not None and refinement.wants_checkpoint(index):
                log.save()  # first, so that it never ends before the checkpoint
                refinement.save(checkpoint_folder, index)
        if watch is not None:
            watch(field.shown())
        if progress is not None:
            progress(index, config.steps, losses)
    if log is not None and checkpoint_folder is not None:
        log.save()
        refinement.curve.save(checkpoint_folder)
    return refinement.field.finish()


def _check(config: RefineConfig) -> None:
    if config.noise not in NOISES:
        raise unknown_name("noise", config.noise, NOISES)
    check_refine(config)
