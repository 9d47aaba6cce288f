"""A radiance field that stands elsewhere: moved, scaled and turned about the vertical."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..field.query import device_of
from ..field.shapes import PerPoint, Points
from ..types import RadianceField
from .surface import turn_about_z


@dataclass(frozen=True)
class Turned:
    """A field moved, scaled and turned: what was at p is at R_z(yaw) (p - middle) * scale.

    Lengths grow by ``scale``, so density, which is per length, shrinks by it.
    """

    field: RadianceField
    yaw_rad: float
    middle: Points
    scale: float

    @property
    def device(self) -> torch.device:
        """Where the field is."""
        return device_of(self.field)

    def __call__(self, points: Points) -> tuple[PerPoint, Points]:
        """points [N, 3] -> density [N], rgb [N, 3]; empty outside of the field's own box."""
        own = (points @ _turn(self.yaw_rad).to(points) / self.scale) + self.middle.to(points)
        density, colour = self.field(own)
        return density * (own.abs() <= 1).all(dim=1) / self.scale, colour

    def placed(self, middle: Points, scale: float) -> Turned:
        """The same, moved and scaled once more: what is at q now is at (q - middle) * scale then."""
        own = middle @ _turn(self.yaw_rad) / self.scale + self.middle
        return Turned(self.field, self.yaw_rad, own, self.scale * scale)


def _turn(yaw_rad: float) -> Points:
    """``turn_about_z``, float32."""
    return torch.from_numpy(turn_about_z(yaw_rad)).float()
