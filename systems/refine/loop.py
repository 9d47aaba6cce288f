"""Refinement: a lifted field gets its colours and shape anew by score distillation, held to the picture it came from.

Each step renders a few views before plain backgrounds, encodes them to latents, and adds up

    score distillation of the guided denoiser       (``guidance.distillation``; no guidance arithmetic here)
  + the front view's error against the picture      (colour and coverage)
  + the field's own terms                           (``TrainableField.shape_losses``),

then takes one step of Adam. All random draws of a step come from (seed, 'refine', step) and everything else that a step
depends on is in the checkpoint, so that a resumed run equals an uninterrupted one bit for bit on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ...configs.errors import SlipcastError
from ...configs.limits import check_refine
from ...configs.names import unknown_name
from ...configs.over_steps import changes, number_at
from ...configs.schema import RefineConfig
from ...guidance.noise import named_generator
from ..field.cameras import Camera
from ..field.voxels import VoxelField
from ..types import RadianceField, SubjectImage
from .checkpoint import load_checkpoint, save_checkpoint
from .curve import Curve
from .health import Collapsed, Health
from .light import draw_light
from .log import Log
from .noise import NOISES
from .step import LOSSES, ChangesOverSteps, DenoiserFor, Encode, Step
from .target import Target
from .trainable import TrainableField, trainable_field
from .view_terms import view_terms
from .views import Ranges, draw_views

_ADAM_BETAS = (0.9, 0.99)
# Gradients are means over pixels, 1e-6 to 1e-4 on the surface; hidden cells should feel none.
_ADAM_EPS = 1e-8
_WARM_UP_STEPS = 10  # Adam's first steps are full-sized whatever the gradient: hold them back
_LAST_RATE = 0.1  # of the learning rate, reached by a half cosine


def refine_field(
    init: RadianceField,
    *,
    denoiser_for: DenoiserFor,
    encode: Encode,
    full_encode: Encode | None = None,
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
    )
    first = 0
    if checkpoint_folder is not None:
        try:
            first = refinement.load(checkpoint_folder)
        except SlipcastError as error:
            if notice is None:
                raise
            notice(f"the refinement starts anew, for its checkpoint is of no use: {error}")
    log = None if checkpoint_folder is None else Log(checkpoint_folder, first, device)
    for sentence in refinement.health.said:
        if notice is not None:  # of what became of the run that this one goes on with
            notice(sentence)
    refinement.keep(first, {})
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
                    f"{collapse}; that was the second time, before any checkpoint"
                ) from collapse
            notice(refinement.health.take_down(collapse, index))
            if log is not None:
                log.cut(index)
        else:
            index += 1
            if log is not None:
                log.add(index - 1, losses, refinement.measured)
            if index % config.checkpoint_every == 0:
                refinement.keep(index, losses)
                if log is not None and checkpoint_folder is not None:
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


class Refinement:
    """A field, what it is held to, who judges it, and how: everything but the number of steps taken."""

    def __init__(
        self,
        field: TrainableField,
        target: Target,
        denoiser_for: DenoiserFor,
        encode: Encode,
        config: RefineConfig,
        seed: int,
        full_encode: Encode | None = None,
    ) -> None:
        self.field, self._target, self._config, self._seed = field, target, config, seed
        self._denoiser_for, self._encode, self._full_encode = denoiser_for, encode, full_encode
        self._noise = NOISES[config.noise](seed)
        self._trained = dict(field.trained())
        self._losses = LOSSES | view_terms(config) | dict(field.shape_losses())
        self.curve = Curve(config, list(self._losses))
        self.measured: Mapping[str, Any] = {}
        self._ranges = Ranges.of(config)
        self.health = Health(float(target.alpha.mean()), self._ranges.zoom)
        groups = [{"params": [one.parameter], "lr": number_at(one.rate, 0)} for one in self._trained.values()]
        self._optimiser = torch.optim.Adam(groups, betas=_ADAM_BETAS, eps=_ADAM_EPS, fused=True)

    def step(self, index: int) -> dict[str, float]:
        """Render, measure, move; returns the losses by name. ``index`` counts from 0.

        What else was measured, for the log, is in ``measured`` afterwards.

        Raises:
            Collapsed: see ``health``; the field is as before.
        """
        step = self._look(index)
        measured = {name: loss(step) for name, loss in self._losses.items()}
        losses = {name: loss for name, loss in measured.items() if loss is not None}
        values = {name: loss.item() for name, loss in losses.items()}
        self.health.check_losses(index, values, step.measured)
        if self.curve.wants(index):
            parameters = [one.parameter for one in self._trained.values()]
            step.measured["gradients"] = self.curve.add(index, losses, parameters)
        self._set_learning_rates(index)
        self._optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        step.measured["gradient"] = self._gradient()
        self.health.check_gradient(index, step.measured["gradient"])
        self._optimiser.step()
        self.measured = {name: value for name, value in step.measured.items() if value != {}}
        return values

    def keep(self, done: int, losses: Mapping[str, float]) -> None:
        """Remember the state after ``done`` steps, and the losses of the last of them, to come ``back`` to."""
        arrays = [array.detach().clone() for array in self._arrays()]
        moments = [
            (one, {name: value.clone() for name, value in told.items()})
            for one, told in self._optimiser.state.items()
        ]
        self._kept = done, dict(losses), arrays, moments

    def back(self) -> tuple[int, dict[str, float]]:
        """Return to the state that was kept last; (steps done by then, losses)."""
        done, losses, arrays, moments = self._kept
        with torch.no_grad():
            for array, kept in zip(self._arrays(), arrays, strict=True):
                array.copy_(kept)
        self._optimiser.state.clear()
        self._optimiser.state.update(moments)
        self.curve.cut(done)
        self.keep(done, losses)
        return done, losses

    def _arrays(self) -> list[torch.Tensor]:
        """All that steps change, but for the optimiser."""
        return [*(one.parameter for one in self._trained.values()), *self.field.state().values()]

    def _gradient(self) -> float:
        """The norm of the derivative of all losses together."""
        gradients = [one.parameter.grad for one in self._trained.values() if one.parameter.grad is not None]
        return math.hypot(*(torch.stack([one.norm() for one in gradients]).tolist() if gradients else ()))

    def save(self, folder: Path, done: int) -> None:
        """Keep the state after ``done`` steps."""
        self.curve.save(folder)  # first, so that it never ends before the checkpoint
        parameters = {name: one.parameter for name, one in self._trained.items()}
        save_checkpoint(
            folder, parameters, self.field.state(), self._optimiser, self._seed, done, self.health
        )

    def load(self, folder: Path) -> int:
        """Go on from the folder's checkpoint; returns the steps done, 0 if there is none."""
        parameters = {name: one.parameter for name, one in self._trained.items()}
        done = load_checkpoint(
            folder, parameters, self.field.state(), self._optimiser, self._seed, self.health
        )
        self.curve.load(folder, done)
        return done

    def _look(self, index: int) -> Step:
        config, generator = self._config, named_generator(self._seed, "refine", index)
        done = index / config.steps
        first = done < config.first_until
        size = config.first_size if first and config.first_size else config.size
        count = config.first_views if first and config.first_views else config.views
        views = draw_views(count, self._ranges, generator)
        light = draw_light(config, views, index, generator)
        self.field.anneal(done)
        asks = self._denoiser_for
        if isinstance(asks, ChangesOverSteps):
            asks = asks.at(index, [camera.azimuth_rad for camera in views.cameras])
        return Step(
            index=index,
            done=done,
            config=config,
            target=self._target.resized(size),
            denoiser_for=asks,
            encode=self._encode,
            full_encode=self._full_encode if self.curve.wants_gradients(index) else None,
            noise=self._noise,
            shown=self.field.shown(),
            views=views,
            generator=generator,
            light=light,
        )

    def _set_learning_rates(self, index: int) -> None:
        """Linear warm-up, then a half cosine down to a tenth, or else a schedule of the rate's own."""
        fall = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * index / self._config.steps))
        share = min(1.0, (index + 1) / _WARM_UP_STEPS) * self.health.rate
        for group, one in zip(self._optimiser.param_groups, self._trained.values(), strict=True):
            own = 1.0 if changes(one.rate) else fall
            group["lr"] = number_at(one.rate, index) * (own * share)


def _check(config: RefineConfig) -> None:
    if config.noise not in NOISES:
        raise unknown_name("noise", config.noise, NOISES)
    check_refine(config)
