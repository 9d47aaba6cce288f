"""What is looked at in one step of refinement: cameras around the object and plain grounds behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..field.cameras import Camera, camera_rays, orbit_camera, view_word

GROUNDS: tuple[tuple[float, float, float], ...] = (
    (0.55, 0.55, 0.55),
    (0.29, 0.29, 0.29),
    (0.47, 0.32, 0.21),
    (0.38, 0.59, 0.36),
    (0.20, 0.49, 0.50),
    (0.73, 0.20, 0.18),
    (0.48, 0.35, 0.62),
    (0.89, 0.56, 0.24),
)
"""Grounds drawn from, sRGB. None is near white: before one, white glaze can be traded for holes at no cost."""
_GROUND_WORDS = ("grey", "dark grey", "brown", "green", "teal", "red", "purple", "orange")


def ground_word(ground: tuple[float, float, float]) -> str:
    """What a prompt calls one of ``GROUNDS``."""
    return _GROUND_WORDS[GROUNDS.index(ground)]


@dataclass(frozen=True)
class Views:
    """Cameras of one step with their words and grounds (sRGB), one of each per view."""

    cameras: list[Camera]
    words: list[str]
    grounds: list[tuple[float, float, float]]

    def rays(self, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Origins, directions and ground colours of all pixels of all views, each [V * size * size, 3]."""
        pairs = [camera_rays(camera, size) for camera in self.cameras]
        ground = torch.tensor(self.grounds).repeat_interleave(size * size, dim=0)
        return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs]), ground


def draw_views(
    count: int, elevation_min_rad: float, elevation_max_rad: float, generator: torch.Generator
) -> Views:
    """``count`` cameras evenly around the object from a random azimuth, each with its own elevation and ground."""
    turn, *heights = torch.rand(1 + count, generator=generator, dtype=torch.float64).tolist()
    picks = torch.randint(len(GROUNDS), (count,), generator=generator).tolist()
    azimuths = [2 * math.pi * (turn + index / count) for index in range(count)]
    elevations = [elevation_min_rad + height * (elevation_max_rad - elevation_min_rad) for height in heights]
    return Views(
        cameras=[orbit_camera(a, e) for a, e in zip(azimuths, elevations, strict=True)],
        words=[view_word(a, e) for a, e in zip(azimuths, elevations, strict=True)],
        grounds=[GROUNDS[pick] for pick in picks],
    )
