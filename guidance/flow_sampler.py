"""Pictures along a straight path: diffusers' sampler for flow models, driven as all samplers are here.

    x_s' = x_s + (s' - s) v,   v = eps - x0          (Euler's method; DDIM on a straight path takes the same steps)

Which noise levels s are visited is the model's: shifted towards noise by a factor f (s -> f s / (1 + (f - 1) s),
arxiv.org/abs/2403.03206, section 5.3.2), which may depend on the picture's size.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from torch import Tensor

from .schedules import from_diffusers, parameterisation_named
from .shapes import Latents, Timesteps

_PATCH = 2  # latents along each side of one token, in Stable Diffusion 3 and in Flux


class FlowSampler:
    """diffusers' FlowMatchEulerDiscreteScheduler that reads eps, at the timesteps of ``StraightPath``.

    Args:
        own: the model's scheduler; left as it is.
        even: visit levels evenly from 1 to 1 / steps before they are shifted, as Flux does, and not down to the last
            level of training, as Stable Diffusion 3 does.
    """

    init_noise_sigma = 1.0
    order = 1

    def __init__(self, own: Any, *, even: bool = False) -> None:
        self.own, self.even, self.schedule = copy.deepcopy(own), even, from_diffusers(own)

    @property
    def config(self) -> Any:
        """The settings of the model's scheduler."""
        return self.own.config

    @property
    def timesteps(self) -> Timesteps:
        """[steps], fractional, the noisiest first; float64, so that the network is told diffusers' own numbers."""
        return self.own.timesteps.double() - 1

    def set_timesteps(self, steps: int, device: Any = None, *, side: tuple[int, int] | None = None) -> None:
        """Choose the noise levels.

        Args:
            side: (height, width) of the latents, which moves the levels of some models.
        """
        told: dict[str, Any] = {}
        if self.config.use_dynamic_shifting:
            if side is None:
                raise ValueError("The noise levels of this model depend on the picture's size; give side.")
            told["mu"] = self._log_shift(side)
        if self.even:
            told["sigmas"] = np.linspace(1.0, 1 / steps, steps)
        self.own.set_timesteps(steps, device=device, **told)
        self.own.set_begin_index(0)

    def _log_shift(self, side: tuple[int, int]) -> float:
        """mu, linear in the number of tokens: ``base_shift`` at ``base_image_seq_len``, ``max_shift`` at the most."""
        config, tokens = self.config, side[0] // _PATCH * (side[1] // _PATCH)
        slope = (config.max_shift - config.base_shift) / (
            config.max_image_seq_len - config.base_image_seq_len
        )
        return config.base_shift + slope * (tokens - config.base_image_seq_len)

    def set_begin_index(self, index: int) -> None:
        """Begin at a later step."""
        self.own.set_begin_index(index)

    def scale_model_input(self, x: Latents, t: Any) -> Latents:
        """x, as it is."""
        return x

    def add_noise(self, start: Latents, noise: Latents, t: Timesteps) -> Latents:
        """See ``Schedule.add_noise``."""
        return self.schedule.add_noise(start, noise, t)

    def step(
        self, eps: Latents, t: Tensor, x: Latents, *, generator: Any = None, return_dict: bool = False
    ) -> tuple[Latents]:
        """x at the next level, from eps at timestep t."""
        way = parameterisation_named("flow_prediction")
        v = way.from_eps(self.schedule, x, eps, t.expand(len(x)))
        return self.own.step(v, t, x, generator=generator, return_dict=False)
