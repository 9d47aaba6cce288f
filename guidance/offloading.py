"""CPU offload, several networks on a small GPU: one on the device at a time, the others wait in main memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .conditioning import Condition, as_conditioning
from .networks import NetworkPredictor, trainable
from .shapes import Answered, Latents, Scalar, Timesteps
from .training import Example


class CPUOffload:
    """The one place on the device. Whoever takes it sends its holder back to main memory.

    Args:
        device: where networks run, for example "cuda".
        rest: where they wait.
    """

    def __init__(self, device: str, *, rest: str = "cpu") -> None:
        self.device, self.rest = device, rest
        self.here: list[Any] = []

    def take(self, *networks: Any) -> None:
        """Bring these networks (a UNet and its ControlNets, an autoencoder) to the device, and no others."""
        for network in [one for one in self.here if not any(one is other for other in networks)]:
            network.to(self.rest)
        for network in networks:
            network.to(self.device)
        self.here = list(networks)


class Offloaded:
    """A predictor whose networks come to the device for each forward; it answers as the plain predictor does."""

    def __init__(self, plain: NetworkPredictor, offload: CPUOffload) -> None:
        self.plain, self.offload = plain, offload
        self.network, self.prediction_type = plain.network, plain.prediction_type
        self.name, self.schedule, self.latent_space = plain.name, plain.schedule, plain.latent_space

    def predict(self, x_t: Latents, t: Timesteps, conditions: Sequence[Condition]) -> list[Answered]:
        """See ``NoisePredictor``."""
        self._seat(conditions)
        return self.plain.predict(x_t, t, conditions)

    def loss(self, example: Example, condition: Condition) -> Scalar:
        """See ``Trainable``; differentiable as long as nothing else takes the place on the device."""
        self._seat([condition])
        return trainable(self.plain).loss(example, condition)

    def _seat(self, conditions: Sequence[Condition]) -> None:
        controls = [c.network for told in map(as_conditioning, conditions) for c in told.controls]
        self.offload.take(self.network, *dict.fromkeys(controls))


def offloaded(predictor: NetworkPredictor, offload: CPUOffload | None) -> NetworkPredictor:
    """The predictor itself, or with CPU offload one that takes turns on the device."""
    return predictor if offload is None else Offloaded(predictor, offload)
