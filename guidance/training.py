"""What a denoiser learns from: noisy latents, what it should answer, and the loss between the two.

A network is trained on what it predicts itself (eps, v, x0 or flow, ``schedules.PARAMETERISATIONS``), all noise levels
weighing the same in that parameterisation; which levels are drawn, and how often, is the weighting.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    x: Latents
    t: Timesteps
    target: Latents

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
    x_t = schedule.add_noise(latents, eps, t)
    return Example(*kind.shown(schedule, x_t, t), kind.from_eps(schedule, x_t, eps, t))


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
    x, t = example.x.to(own), example.t
    eps = kind.to_eps(schedule, x, example.target.to(own), t) + (weight - 1) * (own - prior)
    return Example(example.x, t, kind.from_eps(schedule, x, eps, t))
