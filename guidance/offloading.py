"""Several networks on a small GPU: one on the device at a time, the others wait in main memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .conditioning import Condition, as_conditioning
from .networks import NetworkPredictor


class OneAtATime:
    """The seat on the device. Whoever takes it sends its holder back to main memory.

    Args:
        device: where networks run, for example "cuda".
        rest: where they wait.
    """

    def __init__(self, device: str, *, rest: str = "cpu") -> None:
        self.device, self.rest = device, rest
        self.seated: list[Any] = []

    def take(self, *networks: Any) -> None:
        """Bring these networks (a UNet and its ControlNets, an autoencoder) to the device, and no others."""
        for network in [one for one in self.seated if not any(one is other for other in networks)]:
            network.to(self.rest)
        for network in networks:
            network.to(self.device)
        self.seated = list(networks)


class Seated:
    """A predictor whose networks take the seat before each forward; it answers as the plain predictor does."""

    def __init__(self, plain: NetworkPredictor, seat: OneAtATime) -> None:
        self.plain, self.seat = plain, seat
        self.network, self.prediction_type = plain.network, plain.prediction_type
        self.name, self.schedule, self.latent_space = plain.name, plain.schedule, plain.latent_space

    def predict(self, x_t: Tensor, t: Tensor, conditions: Sequence[Condition]) -> list[Tensor]:
        """See ``NoisePredictor``."""
        controls = [c.network for told in map(as_conditioning, conditions) for c in told.controls]
        self.seat.take(self.network, *dict.fromkeys(controls))
        return self.plain.predict(x_t, t, conditions)


def seated(predictor: NetworkPredictor, seat: OneAtATime | None) -> NetworkPredictor:
    """The predictor itself, or with a seat one that takes turns there."""
    return predictor if seat is None else Seated(predictor, seat)
