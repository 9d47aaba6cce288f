"""diffusers' networks behind the predictor protocol: UNets (SD 1 and 2, SDXL, null-text, with ControlNets) and DiT.

All conditions of one call go through a network in ONE forward; parameterisation, dtype and memory layout are converted
here, at the edge.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .conditioning import Condition, Conditioning, as_conditioning
from .null_text import is_null_text
from .predictors import NoisePredictor
from .schedules import TO_EPS, NoiseSchedule


class NetworkPredictor(NoisePredictor, Protocol):
    """A noise predictor with a network inside."""

    @property
    def network(self) -> Any: ...

    @property
    def prediction_type(self) -> str: ...


class _Predictor:
    """What UNet and DiT have in common: which conditions fit into one forward, and the way to eps."""

    def __init__(
        self, network: Any, *, schedule: NoiseSchedule, prediction_type: str, latent_space: str, name: str
    ) -> None:
        if prediction_type not in TO_EPS:
            raise ValueError(f"prediction_type is one of {sorted(TO_EPS)}, not {prediction_type!r}.")
        self.network, self.schedule, self.prediction_type = network, schedule, prediction_type
        self.latent_space, self.name = latent_space, name

    def predict(self, x_t: Tensor, t: Tensor, conditions: Sequence[Condition]) -> list[Tensor]:
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

    def _forward(self, x_t: Tensor, t: Tensor, told: list[Conditioning]) -> list[Tensor]:
        count, x_t = len(told), x_t.to(torch.promote_types(x_t.dtype, torch.float32))
        x_in, t_in = x_t, t
        if self.prediction_type == "flow_prediction":
            x_in, t_in = self.schedule.flow_coordinates(x_t, t)
        x_in = self._to_network(x_in).repeat(count, 1, 1, 1)
        output = self._ask(x_in, t_in.repeat(count).to(x_in.device), told).to(x_t)
        return [self._to_eps(x_t, one, t) for one in output.chunk(count)]

    def _to_eps(self, x_t: Tensor, output: Tensor, t: Tensor) -> Tensor:
        return TO_EPS[self.prediction_type](self.schedule, x_t, output, t)

    def _to_network(self, x: Tensor) -> Tensor:
        """x on the network's device, in its dtype and memory layout."""
        channels_last = getattr(self.network, "conv_in", None) is not None and (
            self.network.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
        )
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return x.to(*_home(self.network)).contiguous(memory_format=layout)

    def _stack(self, values: Sequence[Tensor | None], batch: int) -> Tensor | None:
        """One tensor of all rows, [count * batch, ...], or None where no condition has one."""
        rows = [value.expand(batch, *[-1] * (value.ndim - 1)) for value in values if value is not None]
        if not rows:
            return None
        device, dtype = _home(self.network)
        stacked = torch.cat(rows)
        return stacked.to(device, dtype if stacked.is_floating_point() else None)

    def _refuse_wrong_kind(self, told: Conditioning) -> None:
        raise NotImplementedError

    def _ask(self, x: Tensor, t: Tensor, told: list[Conditioning]) -> Tensor:
        raise NotImplementedError


def _home(network: Any) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of a network; diffusers' own properties visit every module, a tenth of a small step."""
    first = next(network.parameters())
    return first.device, first.dtype


class UNetPredictor(_Predictor):
    """A diffusers ``UNet2DConditionModel``: Stable Diffusion 1 and 2, SDXL, the starter, or a null-text one.

    The network may be bf16 or fp16 and channels_last; what comes out is float32 (float64 for float64 latents:
    only the conversion to eps is done in it). A null-text network takes no text. ControlNets of a condition
    add their residuals to the rows of that condition only.

    Args:
        unet: the network, on its device, in evaluation mode.
        prediction_type: ``epsilon``, ``v_prediction``, ``sample`` or ``flow_prediction``, as in diffusers.
        latent_space: name of the autoencoder whose latents it was trained on.
    Raises:
        ValueError: prediction_type is none of these.
    """

    def __init__(
        self, unet: Any, *, schedule: NoiseSchedule, prediction_type: str, latent_space: str, name: str
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
        if told.labels is not None:
            raise ValueError(f"The predictor {self.name!r} knows no classes but was given labels.")

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
        if any(one.controls for one in told):
            options |= _residuals(x, t, text, told, added)
        return self.network(x, t, encoder_hidden_states=text, return_dict=False, **options)[0]


def _residuals(
    x: Tensor, t: Tensor, text: Tensor | None, told: list[Conditioning], added: dict[str, Any] | None
) -> dict[str, Any]:
    """What the ControlNets add inside the UNet: their residuals on their own rows, zeros on all others."""
    batch = len(x) // len(told)
    down: list[Tensor] = []
    middle: Tensor | None = None
    for network in dict.fromkeys(control.network for one in told for control in one.controls):
        chosen = [(i, c) for i, one in enumerate(told) for c in one.controls if c.network is network]
        rows = torch.cat([torch.arange(i * batch, (i + 1) * batch) for i, _ in chosen]).to(x.device)
        pictures = torch.cat([control.picture.expand(batch, -1, -1, -1) for _, control in chosen])
        device, dtype = _home(network)
        said = network(
            x[rows].to(dtype),
            t[rows],
            # A null-text UNet gives its ControlNet nothing to read; ControlNets themselves always read text.
            encoder_hidden_states=None if text is None else text[rows].to(dtype),
            controlnet_cond=pictures.to(device, dtype),
            added_cond_kwargs=None if added is None else {key: value[rows] for key, value in added.items()},
            return_dict=False,
        )
        scale = torch.tensor([control.scale for _, control in chosen], device=x.device, dtype=x.dtype)
        scale = scale.repeat_interleave(batch).view(-1, 1, 1, 1)
        parts = [*said[0], said[1]]
        sums = [*down, middle] if middle is not None else [None] * len(parts)
        grown = [
            _scattered(s, part.to(x.dtype) * scale, rows, len(x)) for s, part in zip(sums, parts, strict=True)
        ]
        down, middle = grown[:-1], grown[-1]
    return {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": middle}


def _scattered(total: Tensor | None, part: Tensor, rows: Tensor, count: int) -> Tensor:
    """``part`` added to the given rows of ``total`` [count, ...], zeros to begin with."""
    if total is None:
        total = part.new_zeros(count, *part.shape[1:])
    return total.index_add(0, rows, part)


class DiTPredictor(_Predictor):
    """A diffusers ``DiTTransformer2DModel``: classes instead of text (arxiv.org/abs/2212.09748).

    Args:
        transformer: the network.
        learned_variance: also return its variance channels, behind eps: [B, 2C, h, w]. A DDPM sampler with
            ``variance_type="learned_range"`` reads them; guidance must leave them alone (``Guidance.channels``).
    """

    def __init__(
        self,
        transformer: Any,
        *,
        schedule: NoiseSchedule,
        latent_space: str,
        name: str,
        learned_variance: bool = False,
    ) -> None:
        super().__init__(
            transformer, schedule=schedule, prediction_type="epsilon", latent_space=latent_space, name=name
        )
        self.learned_variance = learned_variance
        config = transformer.config
        if learned_variance and config.out_channels != 2 * config.in_channels:
            raise ValueError(f"The network of {name!r} has no variance channels.")

    @property
    def null_label(self) -> int:
        """The label that stands for no class: one past the last."""
        return self.network.config.num_embeds_ada_norm

    def _refuse_wrong_kind(self, told: Conditioning) -> None:
        if told.labels is None or told.text is not None or told.controls:
            raise ValueError(
                f"The predictor {self.name!r} takes a class label, and neither text nor controls."
            )

    def _ask(self, x: Tensor, t: Tensor, told: list[Conditioning]) -> Tensor:
        labels = self._stack([one.labels for one in told], len(x) // len(told))
        output = self.network(x, timestep=t, class_labels=labels, return_dict=False)[0]
        return output if self.learned_variance else output[:, : x.shape[1]]


class AdaptedPredictor:
    """The same network with a LoRA switched on: a branch of its own at the cost of the adapter alone.

    The adapter was loaded by diffusers (``network.load_lora_adapter(..., adapter_name=...)``) and is off
    except during this predictor's forwards, so that the plain predictor of the network stays the base.
    """

    def __init__(self, plain: NetworkPredictor, adapter: str, *, scale: float = 1.0, name: str) -> None:
        self.plain, self.adapter, self.scale, self.name = plain, adapter, scale, name
        self.schedule, self.latent_space = plain.schedule, plain.latent_space
        self.network, self.prediction_type = plain.network, plain.prediction_type
        plain.network.disable_adapters()

    @contextlib.contextmanager
    def _switched_on(self) -> Iterator[None]:
        network = self.plain.network
        network.set_adapters([self.adapter], [self.scale])
        network.enable_adapters()
        try:
            yield
        finally:
            network.disable_adapters()

    def predict(self, x_t: Tensor, t: Tensor, conditions: Sequence[Condition]) -> list[Tensor]:
        """See ``NoisePredictor``."""
        with self._switched_on():
            return self.plain.predict(x_t, t, conditions)
