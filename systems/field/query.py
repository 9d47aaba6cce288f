"""Asking a field that may live on another device than whoever asks, piece by piece where memory is short."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

from ..types import RadianceField
from .shapes import PerPoint, Points

CHUNK = 262_144
"""Points per call where nothing else is said: about 50 MB of a dense field's intermediate values."""


@runtime_checkable
class Placed(Protocol):
    """A field that says on which device it computes."""

    @property
    def device(self) -> torch.device: ...


@runtime_checkable
class TellsDensity(Protocol):
    """A field that tells its density alone for less than density and colour."""

    def density_at(self, points: Points) -> PerPoint:
        """points [N, 3] -> density [N], as the field itself says."""
        ...


def density_of(field: RadianceField, points: Points) -> PerPoint:
    """Density [N] at points [N, 3] on the field's device, for as little as the field tells it."""
    return field.density_at(points) if isinstance(field, TellsDensity) else field(points)[0]


def device_of(field: RadianceField) -> torch.device:
    """Where a field computes; one that does not say (an analytic one) computes on the CPU."""
    return field.device if isinstance(field, Placed) else torch.device("cpu")


def query(field: RadianceField, points: Points, *, chunk: int = CHUNK) -> tuple[PerPoint, Points]:
    """Density [N] and colour [N, 3], float32, at points [N, 3], on the points' own device; differentiable.

    Args:
        points: in [-1, 1]^3, on any device.
        chunk: most points per call of the field.
    """
    home = device_of(field)
    answers = [field(part.to(home)) for part in points.split(chunk)]
    density, colour = torch.cat([one for one, _ in answers]), torch.cat([one for _, one in answers])
    return density.float().to(points.device), colour.float().to(points.device)
