"""Denoising tasks for the one trainer (``training.loop``): which network is moved, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...guidance.conditioning import Condition
from ...guidance.networks import Trainable
from ...guidance.schedules import Schedule
from ...guidance.training import distilled, draw_example
from ..models.families.family import MakePredictor
from .sources import LatentSource

LoadNetwork = Callable[[Path], Any]


def plain_attention(network: Any) -> None:
    """Attention as plain matrix products, whose backward is quick in bf16 on CPUs.

    Where text and picture attend to each other in one (``joint_attention_dim``), it is left as it is.
    """
    from diffusers.models.attention_processor import AttnProcessor

    if (
        hasattr(network, "set_attn_processor")
        and getattr(network.config, "joint_attention_dim", None) is None
    ):
        network.set_attn_processor(AttnProcessor())


@dataclass
class DenoisingTask:
    """Denoising of a domain's pictures by a network, told what its source says; see ``training.Task``.

    It learns what its base predicts (eps, v, x0), since that is how it is read back.

    Attributes:
        start: where the network lies as the method left it.
        load: reads it; only what requires a gradient is trained.
        predictor: wraps it, as the base's family does.
        checkpointing: compute activations again in the backward pass instead of keeping them.
        distil: the weight of domain guidance that the network takes into itself; 1 for none.
        told_nothing: what the network at its start is told as the prior of that guidance.
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
    distil: float = 1.0
    told_nothing: Condition = None

    def modules(self) -> dict[str, nn.Module]:
        """The network as it was before the first step."""
        return {self.part: self.load(self.start)}

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Make ready in this process."""
        network: Any = modules[self.part]
        if torch.device(device).type != "cuda":
            plain_attention(network)
        network.train()
        if self.checkpointing:
            network.enable_gradient_checkpointing()
        self._source = self.source.open(device)
        self._predictor = self.predicting(network)
        if self.distil != 1:
            prior = self.load(self.start).requires_grad_(False).eval()
            self._prior = self.predicting(prior.to(device, next(network.parameters()).dtype))

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
        if self.distil != 1:
            with torch.no_grad():
                own = self._predictor.predict(*example.asked, [told])[0]
                prior = self._prior.predict(*example.asked, [self.told_nothing])[0]
            example = distilled(example, own, prior, self.distil, self.schedule, self.prediction_type)
        return self._predictor.loss(example, told)
