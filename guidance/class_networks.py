"""Networks that are told a class instead of words, behind the predictor protocol: DiT."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .conditioning import Conditioning
from .networks import OneForward
from .schedules import Schedule


class DiTPredictor(OneForward):
    """A diffusers ``DiTTransformer2DModel``: classes instead of text (arxiv.org/abs/2212.09748).

    Args:
        transformer: the network.
        prediction_type: as of ``UNetPredictor``; the published ones predict eps.
        learned_variance: also return its variance channels, behind eps: [B, 2C, h, w]. A DDPM sampler with
            ``variance_type="learned_range"`` reads them; guidance must leave them alone (``Guidance.channels``).
    """

    def __init__(
        self,
        transformer: Any,
        *,
        schedule: Schedule,
        latent_space: str,
        name: str,
        prediction_type: str = "epsilon",
        learned_variance: bool = False,
    ) -> None:
        super().__init__(
            transformer,
            schedule=schedule,
            prediction_type=prediction_type,
            latent_space=latent_space,
            name=name,
        )
        self.learned_variance = learned_variance
        config = transformer.config
        if learned_variance and config.out_channels != 2 * config.in_channels:
            raise ValueError(f"The network of {name!r} has no variance channels.")
        if learned_variance and prediction_type != "epsilon":
            raise ValueError(f"Variance channels stand behind eps; {name!r} predicts {prediction_type}.")

    @property
    def null_label(self) -> int:
        """The label that stands for no class: one past the last."""
        return self.network.config.num_embeds_ada_norm

    def _refuse_wrong_kind(self, told: Conditioning) -> None:
        if told.labels is None or told.text is not None or told.controls or told.images:
            raise ValueError(
                f"The predictor {self.name!r} takes a class label, and neither text nor pictures."
            )

    def _ask(self, x: Tensor, t: Tensor, told: list[Conditioning]) -> Tensor:
        labels = self._stack([one.labels for one in told], len(x) // len(told))
        output = self.network(x, timestep=t, class_labels=labels, return_dict=False)[0]
        return output if self.learned_variance else output[:, : x.shape[1]]
