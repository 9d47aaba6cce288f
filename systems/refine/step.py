"""One step of refinement as its losses see it, and the losses that every field has in common.

A loss is a function of the step; it returns a weighted scalar, or None where the step does without it. They are asked
in the order of the table, and each draws its random numbers from the step's generator in its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch

from ...configs.over_steps import Number, changes, number_at
from ...configs.schema import RefineConfig
from ...guidance.distillation import TIMES, DistillableNoise, Own, draw_timesteps, sds_loss
from ...guidance.evaluation import GuidedNoise
from ...guidance.measures import norms_and_cosines
from ..field.volume_rendering import Rendered, render_rays
from ..types import RadianceField
from .light import Light
from .noise import NoiseSource
from .target import Target
from .views import BACKGROUNDS, Colour, Views

DenoiserFor = Callable[[Sequence[str], Sequence[Colour]], DistillableNoise]
"""(view words, background colours sRGB), one of each per view -> the guided denoiser for that batch."""


@runtime_checkable
class ChangesOverSteps(Protocol):
    """A ``DenoiserFor`` whose guidance changes over the steps."""

    def at(self, step: int, azimuths_rad: Sequence[float] = ()) -> DenoiserFor:
        """As it is at a step, counted from 0, for views from these azimuths."""
        ...


Encode = Callable[[torch.Tensor], torch.Tensor]
"""Pictures [V, 3, size, size], sRGB in [0, 1] -> latents [V, C, h, w], differentiable."""


class OwnModel(Protocol):
    """A model of the field's own renders, which a step asks (``refine.score=vsd``) and which then learns from it."""

    def of(self, views: Views) -> Own:
        """What it answers to noisy latents of these views."""
        ...

    def learn(self, latents: torch.Tensor, views: Views, generator: torch.Generator) -> float:
        """Learn the latents [V, C, h, w] of these views; returns its loss."""
        ...

    def state(self) -> Mapping[str, torch.Tensor]:
        """Float32 arrays that learning changes; checkpoints keep them and put them back in place."""
        ...


@dataclass(frozen=True)
class Step:
    """All that a loss may look at.

    Attributes:
        done: the share of steps taken, in [0, 1).
        shown: the field as this step renders it.
        views: the cameras of score distillation.
        generator: of every random draw of this step.
        light: of the views of score distillation; None shows the base colour.
        full_encode: what ``encode`` stands in for, where this step compares the two.
        own_model: of the field's renders; it is asked and not taught here.
        measured: what losses find out on their way, for the log: numbers, or numbers by name.
    """

    index: int
    done: float
    config: RefineConfig
    target: Target
    denoiser_for: DenoiserFor
    encode: Encode
    noise: NoiseSource
    shown: RadianceField
    views: Views
    generator: torch.Generator
    light: Light | None = None
    full_encode: Encode | None = None
    own_model: OwnModel | None = None
    measured: dict[str, Any] = field(default_factory=dict)

    def at(self, number: Number) -> float:
        """What a setting is at this step."""
        return number_at(number, self.index)

    @property
    def size(self) -> int:
        """Side of this step's views, in pixels."""
        return self.target.size

    @property
    def spacing(self) -> float:
        """A cell of the field's grid, over which normals are measured."""
        return 2 / self.config.resolution

    def render(self, views: Views, field: RadianceField | None = None) -> tuple[Rendered, torch.Tensor]:
        """All pixels of some views, and the background's colour behind each, [V * size * size, 3].

        Args:
            field: what to look at, the field as this step shows it if None.
        """
        origins, directions, background = views.rays(self.size)
        rendered = render_rays(
            self.shown if field is None else field,
            origins,
            directions,
            samples=self.config.samples,
            background=background,
            generator=self.generator,
        )
        return rendered, background

    @cached_property
    def seen(self) -> tuple[Rendered, torch.Tensor]:
        """The views of score distillation, rendered, and the background behind each pixel."""
        if self.light is None:
            rendered, background = self.render(self.views)
        else:
            rendered, background = self._lit(self.light)
        self.measured["opacity"] = rendered.opacity.detach().mean().item()
        return rendered, background

    @cached_property
    def pictures(self) -> torch.Tensor:
        """The views of score distillation [V, 3, size, size], sRGB in [0, 1]."""
        rendered, _ = self.seen
        return rendered.rgb.view(len(self.views.words), self.size, self.size, 3).permute(0, 3, 1, 2)

    @cached_property
    def latents(self) -> torch.Tensor:
        """Their latents [V, C, h, w]."""
        return self.encode(self.pictures)

    def _lit(self, light: Light) -> tuple[Rendered, torch.Tensor]:
        """Each view in the light of its own lamp."""
        parts = [
            self.render(view, light.on(self.shown, index, self.spacing))
            for index, view in enumerate(self.views.single())
        ]
        pictures = [
            torch.cat([getattr(rendered, name) for rendered, _ in parts])
            for name in ("rgb", "opacity", "depth")
        ]
        return Rendered(*pictures), torch.cat([background for _, background in parts])

    @cached_property
    def front(self) -> tuple[Rendered, torch.Tensor]:
        """The picture's own view, rendered, and what the picture shows there, both before one random background."""
        pick = int(torch.randint(len(BACKGROUNDS), (1,), generator=self.generator))
        rendered, background = self.render(Views([self.target.camera], [""], [BACKGROUNDS[pick]]))
        self.measured.setdefault("opacity", rendered.opacity.detach().mean().item())
        return rendered, self.target.over(background)


Loss = Callable[[Step], torch.Tensor | None]


def distillation(step: Step) -> torch.Tensor | None:
    """Score distillation of all views, as a mean over latent entries so that its weight is 1 at any latent size."""
    config, weight = step.config, step.at(step.config.distillation_weight)
    if not weight:
        return None
    pictures, latents = step.pictures, step.latents
    plain, pushes = step.denoiser_for(step.views.words, step.views.backgrounds), dict[str, torch.Tensor]()
    denoiser = plain.watched_by(pushes.update) if isinstance(plain, GuidedNoise) else plain
    lowest, highest = step.at(config.t_min), step.at(config.t_max)
    last = highest if changes(config.t_max) else config.t_max_end
    t_range = TIMES[config.timesteps](step.done, (lowest, lowest), (highest, last))
    t = draw_timesteps(len(latents), t_range, denoiser.schedule, step.generator)
    noise = step.noise(step.views, latents.shape, step.generator).to(latents.device)
    clamp = step.at(config.grad_clamp) or None
    own = None if step.own_model is None else step.own_model.of(step.views)
    loss = sds_loss(denoiser, latents, t, noise, score=config.score, clamp=clamp, own=own)
    if step.full_encode is not None:
        seen = pictures.detach().requires_grad_()
        full = sds_loss(plain, step.full_encode(seen), t, noise, score=config.score, clamp=clamp, own=own)
        (wanted,) = torch.autograd.grad(full, seen)
        (found,) = torch.autograd.grad(loss, pictures, retain_graph=True)
        step.measured["encoder_cosine"] = (
            torch.nn.functional.cosine_similarity(found.flatten(1), wanted.flatten(1)).mean().item()
        )
    step.measured["t"] = t.float().mean().item() / len(denoiser.schedule)
    step.measured["terms"], step.measured["cosines"] = norms_and_cosines(pushes)
    return loss * (weight / latents.numel())


def picture_colour(step: Step) -> torch.Tensor | None:
    """Squared error of the front view's colours against the picture."""
    if step.index % step.config.anchor_every:
        return None
    rendered, wanted = step.front
    return step.at(step.config.anchor_rgb_weight) * (rendered.rgb - wanted).square().mean()


def picture_coverage(step: Step) -> torch.Tensor | None:
    """Squared error of the front view's coverage against the picture."""
    if step.index % step.config.anchor_every:
        return None
    rendered, _ = step.front
    return step.at(step.config.anchor_alpha_weight) * (rendered.opacity - step.target.alpha).square().mean()


LOSSES: dict[str, Loss] = {
    "distillation": distillation,
    "picture colour": picture_colour,
    "picture coverage": picture_coverage,
}
