"""Denoising tasks for the one trainer (``training.loop``): which network is moved, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...guidance.networks import Trainable
from ...guidance.schedules import Schedule
from ...guidance.training import draw_example
from ..models.families.family import MakePredictor
from .sources import LatentSource

LoadNetwork = Callable[[Path], Any]


@dataclass
class DenoisingTask:
    """Denoising of a domain's pictures by a network, told what its source says; see ``training.Task``.

    It learns what its base predicts (eps, v, x0), since that is how it is read back.

    Attributes:
        start: where the network lies as the method left it.
        load: reads it; only what requires a gradient is trained.
        predictor: wraps it, as the base's family does.
        checkpointing: compute activations again in the backward pass instead of keeping them.
    """

    start: Path
    load: LoadNetwork
    predictor: MakePredictor
    source: LatentSource
    schedule: Schedule
    prediction_type: str
    latent_space: str
    noise_shift: float
    part: str = "unet"
    checkpointing: bool = False

    def modules(self) -> dict[str, nn.Module]:
        """The network as it was before the first step."""
        return {self.part: self.load(self.start)}

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Make ready in this process; attention as plain matrix products, whose backward is quick in bf16 on CPUs."""
        from diffusers.models.attention_processor import AttnProcessor

        network: Any = modules[self.part]
        if torch.device(device).type != "cuda" and hasattr(network, "set_attn_processor"):
            network.set_attn_processor(AttnProcessor())
        network.train()
        if self.checkpointing:
            network.enable_gradient_checkpointing()
        self._source = self.source.open(device)
        self._predictor = self.predicting(network)

    def predicting(self, network: Any) -> Trainable:
        """A network of this task as a noise predictor."""
        return self.predictor(
            network,
            schedule=self.schedule,
            prediction_type=self.prediction_type,
            latent_space=self.latent_space,
            name="domain",
        )

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """Mean squared error of what the base predicts (eps, v, x0 or flow)."""
        latents, told = self._source.draw(batch, generator)
        example = draw_example(
            latents, self.schedule, self.prediction_type, generator, shift=self.noise_shift
        )
        return self._predictor.loss(example, told)
