"""One refinement: a step of it, the states that it can come back to, and its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...configs.over_steps import changes, number_at
from ...configs.schema import RefineConfig
from ...guidance.noise import named_generator
from .checkpoint import KEPT_FILE, load_checkpoint, save_checkpoint
from .curve import Curve
from .health import Health
from .light import draw_light
from .noise import NOISES
from .step import LOSSES, ChangesOverSteps, DenoiserFor, Encode, OwnModel, Step
from .target import Target
from .trainable import TrainableField
from .view_terms import view_terms
from .views import Ranges, draw_views

_ADAM_BETAS = (0.9, 0.99)
# Gradients are means over pixels, 1e-6 to 1e-4 on the surface; hidden cells should feel none.
_ADAM_EPS = 1e-8
_WARM_UP_STEPS = 10  # Adam's first steps are full-sized whatever the gradient: hold them back
_LAST_RATE = 0.1  # of the learning rate, reached by a half cosine

_Snapshot = tuple[list[torch.Tensor], list[tuple[torch.Tensor, dict[str, torch.Tensor]]]]
"""All that steps change, and the optimiser's moments."""


class Refinement:
    """A field, what it is held to, who judges it, and how: everything but the number of steps taken.

    Attributes:
        kept_every: steps between two states that a collapse may go back to. Checkpoints, whose number is in no run's
            key, decide nothing of it.
        health: what became of it so far.
        measured: what the last step found out, for the log.
    """

    kept_every = 50

    def __init__(
        self,
        field: TrainableField,
        target: Target,
        denoiser_for: DenoiserFor,
        encode: Encode,
        config: RefineConfig,
        seed: int,
        full_encode: Encode | None = None,
        own_model: OwnModel | None = None,
    ) -> None:
        self.field, self._target, self._config, self._seed = field, target, config, seed
        self._denoiser_for, self._encode, self._full_encode = denoiser_for, encode, full_encode
        self._own_model = own_model
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
        if self._own_model is not None and step.at(self._config.distillation_weight):
            generator = named_generator(self._seed, "refine", "own model", index)
            step.measured["own_loss"] = self._own_model.learn(step.latents.detach(), step.views, generator)
        self.measured = {name: value for name, value in step.measured.items() if value != {}}
        return values

    def keep(self, done: int, losses: Mapping[str, float]) -> None:
        """Remember the state after ``done`` steps, and the losses of the last of them, to come ``back`` to."""
        self._kept = done, dict(losses), self._snapshot()

    def back(self) -> tuple[int, dict[str, float]]:
        """Return to the state that was kept last; (steps done by then, losses)."""
        done, losses, state = self._kept
        self._restore(state)
        self.curve.cut(done)
        return done, losses

    def _snapshot(self) -> _Snapshot:
        arrays = [array.detach().clone() for array in self._arrays()]
        moments = [
            (one, {name: value.clone() for name, value in told.items()})
            for one, told in self._optimiser.state.items()
        ]
        return arrays, moments

    def _restore(self, state: _Snapshot) -> None:
        arrays, moments = state
        with torch.no_grad():
            for array, kept in zip(self._arrays(), arrays, strict=True):
                array.copy_(kept)
        self._optimiser.state.clear()
        self._optimiser.state.update(
            (one, {name: value.clone() for name, value in told.items()}) for one, told in moments
        )

    def _arrays(self) -> list[torch.Tensor]:
        """All that steps change, but for the optimiser."""
        return [*(one.parameter for one in self._trained.values()), *self._state().values()]

    def _state(self) -> dict[str, torch.Tensor]:
        """What steps change beside the parameters and the optimiser, by name."""
        own = {} if self._own_model is None else self._own_model.state()
        return {**self.field.state(), **{f"own model {name}": array for name, array in own.items()}}

    def _gradient(self) -> float:
        """The norm of the derivative of all losses together."""
        gradients = [one.parameter.grad for one in self._trained.values() if one.parameter.grad is not None]
        return math.hypot(*(torch.stack([one.norm() for one in gradients]).tolist() if gradients else ()))

    def wants_checkpoint(self, done: int) -> bool:
        """Whether one is due after so many steps: where states are kept, too, if checkpoints fall between these."""
        return done % self._config.checkpoint_every == 0 or (done % self.kept_every == 0 and self._between)

    @property
    def _between(self) -> bool:
        """Whether checkpoints fall between the states that are kept, which then need a file of their own."""
        return self._config.checkpoint_every % self.kept_every != 0

    def save(self, folder: Path, done: int) -> None:
        """Keep the state after ``done`` steps."""
        self.curve.save(folder)  # first, so that it never ends before the checkpoint
        self._write(folder, done)
        self._save_kept(folder, done)

    def _save_kept(self, folder: Path, done: int) -> None:
        """What a later checkpoint has to come back to; after the one of the same step, which does without."""
        if done % self.kept_every == 0 and self._between:
            self._write(folder, done, file=KEPT_FILE)

    def _write(self, folder: Path, done: int, **options: Any) -> None:
        parameters = {name: one.parameter for name, one in self._trained.items()}
        save_checkpoint(
            folder, parameters, self._state(), self._optimiser, self._seed, done, self.health, **options
        )

    def load(self, folder: Path) -> int:
        """Go on from the folder's checkpoint and what was kept before it; returns the steps done, 0 without one."""
        kept = self._read(folder, None, file=KEPT_FILE)
        older = self._snapshot()
        done = self._read(folder, self.health)
        last = done - done % self.kept_every
        if done == 0:
            self.back()
        elif last == kept and last < done and kept:
            self._kept = kept, {}, older
        elif last:  # also where a version wrote the checkpoint that went back to its checkpoints
            self.keep(done, {})
            self._save_kept(folder, done)
        self.curve.load(folder, done)
        return done

    def _read(self, folder: Path, health: Health | None, **options: Any) -> int:
        parameters = {name: one.parameter for name, one in self._trained.items()}
        return load_checkpoint(
            folder, parameters, self._state(), self._optimiser, self._seed, health, **options
        )

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
            own_model=self._own_model,
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
