"""diffusers' networks behind the predictor protocol: what all have in common, and UNets (SD 1 and 2, SDXL, null-text).

Those of classes are in ``class_networks``, those of flow models in ``flow_networks``.

All conditions of one call go through a network in ONE forward; parameterisation, dtype and memory layout are converted
here, at the edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..configs.errors import BadInput
from .conditioning import Condition, Conditioning, as_conditioning
from .control_residuals import home_of, residuals
from .image_attention import TextAndImages, open_eyes
from .low_rank import switched_on
from .null_text import is_null_text
from .predictors import NoisePredictor
from .schedules import Schedule, parameterisation_named
from .shapes import Answered, Latents, Scalar, Timesteps
from .training import Example


class NetworkPredictor(NoisePredictor, Protocol):
    """A noise predictor with a network inside."""

    @property
    def network(self) -> Any: ...

    @property
    def prediction_type(self) -> str: ...


@runtime_checkable
class Trainable(NetworkPredictor, Protocol):
    """One that can be taught: it says how far its own answer is from what it should be."""

    def loss(self, example: Example, condition: Condition) -> Scalar: ...


class OneForward:
    """What all networks have in common: which conditions fit into one forward, and the way to eps."""

    def __init__(
        self, network: Any, *, schedule: Schedule, prediction_type: str, latent_space: str, name: str
    ) -> None:
        self._parameterisation = parameterisation_named(prediction_type)
        self.network, self.schedule, self.prediction_type = network, schedule, prediction_type
        self.latent_space, self.name = latent_space, name

    def predict(self, x_t: Latents, t: Timesteps, conditions: Sequence[Condition]) -> list[Answered]:
        """See ``NoisePredictor``; texts of different lengths cannot share a forward and get one each.

        Raises:
            ValueError: a condition of the wrong kind for this network.
        """
        told = [as_conditioning(condition) for condition in conditions]
        places_by_length: dict[int, list[int]] = {}
        for place, condition in enumerate(told):
            self._refuse_wrong_kind(condition)
            length = 0 if condition.text is None else condition.text.shape[1]
            places_by_length.setdefault(length, []).append(place)
        eps: dict[int, Tensor] = {}
        for places in places_by_length.values():
            eps.update(zip(places, self._forward(x_t, t, [told[i] for i in places]), strict=True))
        return [eps[place] for place in range(len(told))]

    def loss(self, example: Example, condition: Condition) -> Scalar:
        """How far the network's own answer is from what it should be, a scalar; differentiable in both.

        Args:
            example: drawn for this predictor's schedule and prediction type.
            condition: as for ``predict``.
        """
        told = as_conditioning(condition)
        self._refuse_wrong_kind(told)
        x = self._to_network(example.x)
        return example.loss(self._ask(x, example.t.to(x.device), [told]))

    def _forward(self, x_t: Tensor, t: Tensor, told: list[Conditioning]) -> list[Tensor]:
        count, x_t = len(told), x_t.to(torch.promote_types(x_t.dtype, torch.float32))
        told = [one.at(t / len(self.schedule)) for one in told]
        x_in, t_in = self._parameterisation.shown(self.schedule, x_t, t)
        x_in = self._to_network(x_in).repeat(count, 1, 1, 1)
        output = self._ask(x_in, t_in.repeat(count).to(x_in.device), told).to(x_t)
        return [self._to_eps(x_t, one, t) for one in output.chunk(count)]

    def _to_eps(self, x_t: Tensor, output: Tensor, t: Tensor) -> Tensor:
        return self._parameterisation.to_eps(self.schedule, x_t, output, t)

    def _to_network(self, x: Tensor) -> Tensor:
        """x on the network's device, in its dtype and memory layout."""
        channels_last = getattr(self.network, "conv_in", None) is not None and (
            self.network.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
        )
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return x.to(*home_of(self.network)).contiguous(memory_format=layout)

    def _stack(self, values: Sequence[Tensor | None], batch: int) -> Tensor | None:
        """One tensor of all rows, [count * batch, ...], or None where no condition has one."""
        device, dtype = home_of(self.network)
        # Moved before they meet: who made a condition need not have been where the network is.
        rows = [v.to(device).expand(batch, *[-1] * (v.ndim - 1)) for v in values if v is not None]
        if not rows:
            return None
        stacked = torch.cat(rows)
        return stacked.to(dtype) if stacked.is_floating_point() else stacked

    def _refuse_wrong_kind(self, told: Conditioning) -> None:
        raise NotImplementedError

    def _ask(self, x: Tensor, t: Tensor, told: list[Conditioning]) -> Tensor:
        raise NotImplementedError


class UNetPredictor(OneForward):
    """A diffusers ``UNet2DConditionModel``: Stable Diffusion 1 and 2, SDXL, the starter, or a null-text one.

    The network may be bf16 or fp16 and channels_last; what comes out is float32 (float64 for float64 latents:
    only the conversion to eps is done in it). A null-text network takes no text. ControlNets of a condition
    add their residuals to the rows of that condition only.

    Args:
        unet: the network, on its device, in evaluation mode.
        prediction_type: ``epsilon``, ``v_prediction``, ``sample`` or ``flow_prediction``, as in diffusers.
        latent_space: name of the autoencoder whose latents it was trained on.
    Raises:
        BadInput: prediction_type is none of these.
    """

    def __init__(
        self, unet: Any, *, schedule: Schedule, prediction_type: str, latent_space: str, name: str
    ) -> None:
        super().__init__(
            unet,
            schedule=schedule,
            prediction_type=prediction_type,
            latent_space=latent_space,
            name=name,
        )
        self.takes_text = not is_null_text(unet)
        self.takes_sizes = getattr(unet.config, "addition_embed_type", None) == "text_time"
        self.guidance_width: int | None = getattr(unet.config, "time_cond_proj_dim", None)

    @property
    def unet(self) -> Any:
        """The network."""
        return self.network

    def _refuse_wrong_kind(self, told: Conditioning) -> None:
        if told.text is None and self.takes_text:
            raise ValueError(f"The predictor {self.name!r} reads text but was given no condition.")
        if told.text is not None and not self.takes_text:
            raise ValueError(f"The predictor {self.name!r} takes no text but was given one.")
        if self.takes_sizes and (told.pooled is None or told.time_ids is None):
            raise ValueError(f"The predictor {self.name!r} (SDXL) needs pooled text and time_ids as well.")
        if self.guidance_width is not None and told.guidance is None:
            raise ValueError(
                f"The predictor {self.name!r} is distilled and needs the weight of its guidance."
            )
        if told.labels is not None:
            raise ValueError(f"The predictor {self.name!r} knows no classes but was given labels.")
        if told.images and not self.takes_text:
            raise ValueError(f"The predictor {self.name!r} has no attention to look at a picture with.")
        if any(one.text_width != self.unet.config.cross_attention_dim for one in told.images):
            raise BadInput(
                f"the image prompts were made for another family of models than {self.name!r}; leave one of them out"
            )

    def _ask(self, x: Tensor, t: Tensor, told: list[Conditioning]) -> Tensor:
        batch = len(x) // len(told)
        text = self._stack([one.text for one in told], batch)
        added = None
        if self.takes_sizes:
            added = {
                "text_embeds": self._stack([one.pooled for one in told], batch),
                "time_ids": self._stack([one.time_ids for one in told], batch),
            }
        options: dict[str, Any] = {"added_cond_kwargs": added} if added else {}
        if self.guidance_width is not None:
            # Never rounded to the network's dtype: its waves turn a thousand times as fast as w.
            weights = torch.cat([one.guidance.expand(batch) for one in told if one.guidance is not None])
            options["timestep_cond"] = guidance_features(weights, self.guidance_width).to(x)
        if any(one.controls for one in told):
            options |= residuals(x, t, text, told, added)
        heard: Any = text
        if text is not None and any(one.images for one in told):
            open_eyes(self.network)
            heard = TextAndImages(text, [one.images for one in told])
        return self.network(x, t, encoder_hidden_states=heard, return_dict=False, **options)[0]


def guidance_features(weights: Tensor, width: int) -> Tensor:
    """How a distilled network is told its guidance weight: waves of 1000 (w - 1), [B] -> [B, width], as in diffusers.

    Latent consistency models (arxiv.org/abs/2310.04378) count from 0, so w = 1 is no guidance here as well. In float32
    and in this order, as they were trained: the waves are so quick that rounding otherwise shows.
    """
    half = width // 2
    rate = torch.log(torch.tensor(10000.0)) / (half - 1)
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * -rate).float()
    waves = ((weights.float().cpu() - 1) * 1000)[:, None] * rates
    return torch.nn.functional.pad(torch.cat([waves.sin(), waves.cos()], 1), (0, width % 2))


def beside(unet: Any, other: NetworkPredictor, *, name: str) -> UNetPredictor:
    """A UNet that was made of another predictor's: it adds the same noise and speaks of it in the same way."""
    return UNetPredictor(
        unet,
        schedule=other.schedule,
        prediction_type=other.prediction_type,
        latent_space=other.latent_space,
        name=name,
    )


class AdaptedPredictor:
    """The same network with low-rank adapters switched on: a branch of its own at the cost of the adapters alone.

    They were put in by ``low_rank.put_in`` and are off except during this predictor's forwards, so that the plain
    predictor of the network stays the base.

    Args:
        strengths: of each adapter by its name, in the order in which they are added up.
    """

    def __init__(self, plain: NetworkPredictor, strengths: Mapping[str, float], *, name: str) -> None:
        self.plain, self.strengths, self.name = plain, dict(strengths), name
        self.schedule, self.latent_space = plain.schedule, plain.latent_space
        self.network, self.prediction_type = plain.network, plain.prediction_type

    def predict(self, x_t: Latents, t: Timesteps, conditions: Sequence[Condition]) -> list[Answered]:
        """See ``NoisePredictor``."""
        with switched_on([self.network], self.strengths):
            return self.plain.predict(x_t, t, conditions)

    def loss(self, example: Example, condition: Condition) -> Scalar:
        """See ``Trainable``; a ``TypeError`` where the plain predictor cannot be taught."""
        with switched_on([self.network], self.strengths):
            return trainable(self.plain).loss(example, condition)


def trainable(predictor: NoisePredictor) -> Trainable:
    """The predictor itself, as one that can be taught; ``TypeError`` for others."""
    if not isinstance(predictor, Trainable):
        raise TypeError(f"The predictor {predictor.name!r} cannot be taught.")
    return predictor
