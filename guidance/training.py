"""What a denoiser learns from: noisy latents, what it should answer, and the loss between the two.

A network is trained on what it predicts itself (eps, v, x0 or flow, ``schedules.PARAMETERISATIONS``), all noise levels
weighing the same in that parameterisation; which levels are drawn, and how often, is the weighting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from .schedules import Schedule, parameterisation_named
from .shapes import Latents, Scalar, Timesteps


@dataclass(frozen=True)
class Example:
    """A batch for one training step.

    Attributes:
        x: what the network is shown [B, C, h, w].
        t: the timesteps that it is told [B].
        target: what it should answer [B, C, h, w].
        x_t, step: the schedule's noisy latents and timesteps, as predictors are asked, where x and t are others.
    """

    x: Latents
    t: Timesteps
    target: Latents
    x_t: Latents | None = None
    step: Timesteps | None = None

    @property
    def asked(self) -> tuple[Latents, Timesteps]:
        """What a predictor is asked about: noisy latents and timesteps of the schedule."""
        return self.x if self.x_t is None else self.x_t, self.t if self.step is None else self.step

    def loss(self, answer: Latents) -> Scalar:
        """Mean squared error of an answer [B, C, h, w] on any device, in float32: a scalar."""
        return (answer.float() - self.target.to(answer.device)).square().mean()


def example_of(
    latents: Latents, eps: Latents, t: Timesteps, schedule: Schedule, prediction_type: str
) -> Example:
    """The example that clean latents [B, C, h, w], noise of their shape and timesteps t [B] make.

    Raises: BadInput for an unknown prediction type.
    """
    kind = parameterisation_named(prediction_type)
    dtype = latents.dtype
    if getattr(schedule, "ends_in_noise", False) and latents.device.type != "mps":
        # Near pure noise the answer is a difference of nearly equal numbers; see ``sampling.sample``.
        latents, eps = latents.double(), eps.double()
    x_t = schedule.add_noise(latents, eps, t)
    x, told = kind.shown(schedule, x_t, t)
    return Example(x.to(dtype), told, kind.from_eps(schedule, x_t, eps, t).to(dtype), x_t, t)


def draw_example(
    latents: Latents,
    schedule: Schedule,
    prediction_type: str,
    generator: torch.Generator,
    *,
    shift: float = 1.0,
) -> Example:
    """An example of clean latents [B, C, h, w] with random noise, at stratified timesteps, on the latents' device.

    Args:
        shift: s in u -> s u / (1 + (s - 1) u), for u = t / T uniform: above 1 it moves them towards high noise.
    """
    batch = len(latents)
    u = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    u = u[torch.randperm(batch, generator=generator)]
    t = (
        (shift * u / (1 + (shift - 1) * u) * len(schedule))
        .long()
        .clamp(0, len(schedule) - 1)
        .to(latents.device)
    )
    eps = torch.randn(latents.shape, generator=generator).to(latents.device)
    return example_of(latents, eps, t, schedule, prediction_type)


def distilled(
    example: Example, own: Latents, prior: Latents, weight: float, schedule: Schedule, prediction_type: str
) -> Example:
    """The example whose answer holds the guidance: a network that learns it needs no second one beside it.

        eps + (w - 1) (eps_own - eps_prior)                         (DogFit, arxiv.org/abs/2508.05685)

    Domain guidance at w (``recipes.domain_guidance``), without its authors' cut-off by noise level.

    Args:
        own: eps that the network itself says of the example [B, C, h, w], not to be differentiated.
        prior: eps of the network that it was made of, told nothing.
        weight: w; 1 changes nothing.
    """
    kind = parameterisation_named(prediction_type)
    x_t, t = example.asked
    x_t = x_t.to(own)
    eps = kind.to_eps(schedule, x_t, example.target.to(own), t) + (weight - 1) * (own - prior)
    return replace(example, target=kind.from_eps(schedule, x_t, eps, t).to(example.target))
