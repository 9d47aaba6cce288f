"""The networks of flow models behind the predictor protocol: Stable Diffusion 3 (MMDiT) and Flux.

Both let text and picture attend to each other, and answer v = eps - x0 on a straight path (``schedules.StraightPath``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .conditioning import Conditioning
from .networks import OneForward
from .schedules import Schedule


class _JointPredictor(OneForward):
    """Text and pooled text are all that they are told; and their guidance, where they have it inside."""

    def __init__(
        self, network: Any, *, schedule: Schedule, prediction_type: str, latent_space: str, name: str
    ) -> None:
        super().__init__(
            network,
            schedule=schedule,
            prediction_type=prediction_type,
            latent_space=latent_space,
            name=name,
        )
        self.takes_guidance = bool(network.config.get("guidance_embeds"))

    def _refuse_wrong_kind(self, told: Conditioning) -> None:
        if told.text is None or told.pooled is None:
            raise ValueError(f"The predictor {self.name!r} needs text and pooled text.")
        if self.takes_guidance and told.guidance is None:
            raise ValueError(
                f"The predictor {self.name!r} is distilled and needs the weight of its guidance."
            )
        if told.labels is not None or told.controls or told.images:
            raise ValueError(f"The predictor {self.name!r} takes text, and neither classes nor pictures.")


class SD3Predictor(_JointPredictor):
    """diffusers' ``SD3Transformer2DModel`` (arxiv.org/abs/2403.03206); it is told t as 0 ... 1000."""

    def _ask(self, x: Tensor, t: Tensor, told: list[Conditioning]) -> Tensor:
        batch = len(x) // len(told)
        return self.network(
            x,
            timestep=t.float(),
            encoder_hidden_states=self._stack([one.text for one in told], batch),
            pooled_projections=self._stack([one.pooled for one in told], batch),
            return_dict=False,
        )[0]


class FluxPredictor(_JointPredictor):
    """diffusers' ``FluxTransformer2DModel``: it reads 2 x 2 latents as one token, and is told t as 0 ... 1."""

    def _ask(self, x: Tensor, t: Tensor, told: list[Conditioning]) -> Tensor:
        batch, (height, width) = len(x) // len(told), x.shape[-2:]
        text = self._stack([one.text for one in told], batch)
        assert text is not None
        answer = self.network(
            packed(x),
            timestep=t.to(x.dtype) / len(self.schedule),
            guidance=self._stack([one.guidance for one in told], batch) if self.takes_guidance else None,
            encoder_hidden_states=text,
            pooled_projections=self._stack([one.pooled for one in told], batch),
            txt_ids=torch.zeros(text.shape[1], 3, device=x.device, dtype=x.dtype),
            img_ids=places(height // 2, width // 2).to(x),
            return_dict=False,
        )[0]
        return unpacked(answer, height, width)


def packed(x: Tensor) -> Tensor:
    """Latents [B, C, h, w] as tokens [B, h w / 4, 4 C] of 2 x 2 each, row by row."""
    return x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def unpacked(tokens: Tensor, height: int, width: int) -> Tensor:
    """The latents [B, C, height, width] of tokens [B, h w / 4, 4 C]; undoes ``packed``."""
    apart = tokens.unflatten(1, (height // 2, width // 2)).unflatten(3, (-1, 2, 2))
    return apart.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def places(rows: int, columns: int) -> Tensor:
    """Where each token lies: (0, row, column) [rows columns, 3], row by row."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], -1).flatten(0, 1)
