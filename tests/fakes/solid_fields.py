"""Radiance fields whose surface and colours are known exactly: signed distances turned into density."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

SPHERE_RADIUS = 0.6
SPHERE_VOLUME = 4 / 3 * math.pi * SPHERE_RADIUS**3
TORUS_RADII = (0.55, 0.2)
TORUS_VOLUME = 2 * math.pi**2 * TORUS_RADII[0] * TORUS_RADII[1] ** 2


def sphere(points: torch.Tensor) -> torch.Tensor:
    """Signed distance [N] to a sphere at the origin."""
    return points.norm(dim=1) - SPHERE_RADIUS


def torus(points: torch.Tensor) -> torch.Tensor:
    """Signed distance [N] to a torus round the z axis."""
    ring = points[:, :2].norm(dim=1) - TORUS_RADII[0]
    return torch.hypot(ring, points[:, 2]) - TORUS_RADII[1]


def position_color(points: torch.Tensor) -> torch.Tensor:
    """A colour that says where it is: [-1, 1] on each axis becomes [0, 1] in one channel."""
    return ((points + 1) / 2).clamp(0, 1)


@dataclass(frozen=True)
class SolidField:
    """Density ``peak`` inside a shape, falling to 0 across ``softness`` around its surface (0: a hard step)."""

    distance: Callable[[torch.Tensor], torch.Tensor]
    peak: float = 200.0
    softness: float = 0.0
    color: Callable[[torch.Tensor], torch.Tensor] = position_color

    def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inside = -self.distance(points)
        share = (inside > 0).float() if self.softness == 0 else torch.sigmoid(4 * inside / self.softness)
        return self.peak * share, self.color(points)
