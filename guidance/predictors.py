"""What a denoiser looks like from outside: conditions in, eps out.

Parameterisation (eps, v, x0, flow), dtype and memory layout are the predictor's own affair and end at its
edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .null_text import is_null_text
from .schedules import TO_EPS, NoiseSchedule


class NoisePredictor(Protocol):
    """Says which noise it sees in x_t under each of several conditions.

    ``latent_space`` names the autoencoder whose latents it was trained on; predictors are combined only if
    they share it and the schedule. ``name`` is for error sentences.
    """

    @property
    def name(self) -> str: ...

    @property
    def schedule(self) -> NoiseSchedule: ...

    @property
    def latent_space(self) -> str: ...

    def predict(self, x_t: Tensor, t: Tensor, conditions: Sequence[Tensor | None]) -> list[Tensor]:
        """Args:
            x_t: noisy latents [B, C, h, w].
            t: timesteps [B] in [0, T).
            conditions: each None or a tensor whose first axis is 1 or B.
        Returns:
            eps [B, C, h, w] for each condition, in the dtype of x_t (float32 at least).
        """
        ...


class UNetPredictor:
    """A diffusers ``UNet2DConditionModel``: all conditions of one call go through it in ONE forward.

    The network may be bf16 or fp16 and channels_last; what comes out is float32 (float64 for float64 latents:
    only the conversion to eps is done in it). A null-text network takes the condition None, and only that.

    Args:
        unet: the network, on its device, in evaluation mode.
        prediction_type: ``epsilon``, ``v_prediction``, ``sample`` or ``flow_prediction``, as in diffusers.
    Raises:
        ValueError: prediction_type is none of these.
    """

    def __init__(
        self, unet: Any, *, schedule: NoiseSchedule, prediction_type: str, latent_space: str, name: str
    ) -> None:
        if prediction_type not in TO_EPS:
            raise ValueError(f"prediction_type is one of {sorted(TO_EPS)}, not {prediction_type!r}.")
        self.unet, self.schedule, self.prediction_type = unet, schedule, prediction_type
        self.latent_space, self.name = latent_space, name
        self.takes_text = not is_null_text(unet)

    def predict(self, x_t: Tensor, t: Tensor, conditions: Sequence[Tensor | None]) -> list[Tensor]:
        """See ``NoisePredictor``; texts of different lengths cannot share a forward and get one each.

        Raises:
            ValueError: None for a network that reads text, or a text for a null-text network.
        """
        places_by_length: dict[int, list[int]] = {}
        for place, text in enumerate(conditions):
            self._refuse_wrong_kind(text)
            places_by_length.setdefault(0 if text is None else text.shape[1], []).append(place)
        eps: dict[int, Tensor] = {}
        for places in places_by_length.values():
            eps.update(zip(places, self._forward(x_t, t, [conditions[i] for i in places]), strict=True))
        return [eps[place] for place in range(len(conditions))]

    def _refuse_wrong_kind(self, text: Tensor | None) -> None:
        if text is None and self.takes_text:
            raise ValueError(f"The predictor {self.name!r} reads text but was given no condition.")
        if text is not None and not self.takes_text:
            raise ValueError(f"The predictor {self.name!r} takes no text but was given one.")

    def _forward(self, x_t: Tensor, t: Tensor, texts: list[Tensor | None]) -> tuple[Tensor, ...]:
        count, x_t = len(texts), x_t.to(torch.promote_types(x_t.dtype, torch.float32))
        x_in, t_in = x_t, t
        if self.prediction_type == "flow_prediction":
            x_in, t_in = self.schedule.flow_coordinates(x_t, t)
        output = self.unet(
            self._to_network(x_in.repeat(count, 1, 1, 1)),
            t_in.repeat(count).to(self.unet.device),
            encoder_hidden_states=self._stack(texts, len(x_t)),
            return_dict=False,
        )[0].to(x_t)
        to_eps = TO_EPS[self.prediction_type]
        return tuple(to_eps(self.schedule, x_t, one, t) for one in output.chunk(count))

    def _to_network(self, x: Tensor) -> Tensor:
        """x on the network's device, in its dtype and memory layout."""
        channels_last = self.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return x.to(self.unet.device, self.unet.dtype).contiguous(memory_format=layout)

    def _stack(self, texts: list[Tensor | None], batch: int) -> Tensor | None:
        """[count * B, tokens, width], or None for a null-text network."""
        rows = [text.expand(batch, -1, -1) for text in texts if text is not None]
        return torch.cat(rows).to(self.unet.device, self.unet.dtype) if rows else None


@dataclass
class GaussianPredictor:
    """The exact denoiser of Gaussian data, for tests, examples and plots: no network, no training.

    Data x0 ~ N(mean, variance I) is x_t ~ N(a mean, (a^2 variance + s^2) I) under noise, and the best guess
    of the noise is eps = s (x_t - a mean) / (a^2 variance + s^2).

    A condition is the mean itself, [1, C, h, w] or [B, C, h, w]; None means ``mean``.
    """

    mean: float | Tensor
    variance: float
    schedule: NoiseSchedule
    latent_space: str = "gaussian"
    name: str = "gaussian"

    def predict(self, x_t: Tensor, t: Tensor, conditions: Sequence[Tensor | None]) -> list[Tensor]:
        """See ``NoisePredictor``."""
        a, s = self.schedule.signal_and_noise(t, x_t)
        scale = s / (a.square() * self.variance + s.square())
        return [scale * (x_t - a * (self.mean if mean is None else mean)) for mean in conditions]


@dataclass
class MatchedPredictor:
    """Lets a predictor join others of a different noise schedule, by matching the noise variance.

    At t of ``schedule`` the inner predictor is asked at the timestep of its own schedule whose variance is
    nearest (arxiv.org/abs/2503.20240 does the same). Latent spaces must still agree.
    """

    inner: NoisePredictor
    schedule: NoiseSchedule

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def latent_space(self) -> str:
        return self.inner.latent_space

    def predict(self, x_t: Tensor, t: Tensor, conditions: Sequence[Tensor | None]) -> list[Tensor]:
        """See ``NoisePredictor``."""
        return self.inner.predict(
            x_t, self.inner.schedule.nearest_timestep(self.schedule.alpha_bar(t)), conditions
        )
