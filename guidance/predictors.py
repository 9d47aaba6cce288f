"""What a denoiser looks like from outside: conditions in, eps out. And two that need no network.

Parameterisation (eps, v, x0, flow), dtype and memory layout are the predictor's own affair and end at its
edge (``networks``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .conditioning import Condition
from .schedules import Schedule
from .shapes import Answered, Latents, Timesteps


class NoisePredictor(Protocol):
    """Says which noise it sees in x_t under each of several conditions.

    ``latent_space`` names the autoencoder whose latents it was trained on; predictors are combined only if
    they share it and the schedule. ``name`` is for error sentences.
    """

    @property
    def name(self) -> str: ...

    @property
    def schedule(self) -> Schedule: ...

    @property
    def latent_space(self) -> str: ...

    def predict(self, x_t: Latents, t: Timesteps, conditions: Sequence[Condition]) -> list[Answered]:
        """Args:
            x_t: noisy latents [B, C, h, w].
            t: timesteps [B] in [0, T).
            conditions: each None, a tensor or a ``Conditioning`` whose first axes are 1 or B.
        Returns:
            eps [B, C, h, w] for each condition, in the dtype of x_t (float32 at least).
        """
        ...


class ConditionalDenoiser(Protocol):
    """A model that can be a branch of a guidance: its predictor, and what that is told for each prompt.

    A base reads prompts; a domain, which takes no text, is told the same whatever the prompt. ``identity`` is a hash of
    all files that it was read from.
    """

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def predictor(self) -> NoisePredictor: ...

    def condition(self, prompts: Sequence[str], *, size: int | tuple[int, int] | None = None) -> Condition:
        """The condition of prompts [B]; ``size`` is the side of the picture in pixels, the model's own if None."""
        ...


@dataclass
class GaussianPredictor:
    """The exact denoiser of Gaussian data, for tests, examples and plots: no network, no training.

    Data x0 ~ N(mean, variance I) is x_t ~ N(a mean, (a^2 variance + s^2) I) under noise, and the best guess
    of the noise is eps = s (x_t - a mean) / (a^2 variance + s^2).

    A condition is the mean itself, [1, C, h, w] or [B, C, h, w]; None means ``mean``.
    """

    mean: float | Tensor
    variance: float
    schedule: Schedule
    latent_space: str = "gaussian"
    name: str = "gaussian"

    def predict(self, x_t: Latents, t: Timesteps, conditions: Sequence[Condition]) -> list[Answered]:
        """See ``NoisePredictor``."""
        a, s = self.schedule.signal_and_noise(t, x_t)
        scale = s / (a.square() * self.variance + s.square())
        means = [self.mean if mean is None else mean for mean in conditions]
        return [scale * (x_t - a * mean) for mean in means]  # pyright: ignore[reportOperatorIssue]


@dataclass
class MatchedPredictor:
    """Lets a predictor join others of a different noise schedule, by matching the noise variance.

    At t of ``schedule`` the inner predictor is asked at the timestep of its own schedule whose variance is
    nearest (arxiv.org/abs/2503.20240 does the same). Latent spaces must still agree.
    """

    inner: NoisePredictor
    schedule: Schedule

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def latent_space(self) -> str:
        return self.inner.latent_space

    def predict(self, x_t: Latents, t: Timesteps, conditions: Sequence[Condition]) -> list[Answered]:
        """See ``NoisePredictor``."""
        return self.inner.predict(
            x_t, self.inner.schedule.nearest_timestep(self.schedule.alpha_bar(t)), conditions
        )
