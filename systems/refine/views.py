"""What is looked at in one step of refinement: cameras around the object and plain backgrounds behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..field.cameras import Camera, camera_rays, orbit_camera, view_word

Colour = tuple[float, float, float]

BACKGROUNDS: tuple[Colour, ...] = (
    (0.55, 0.55, 0.55),
    (0.29, 0.29, 0.29),
    (0.47, 0.32, 0.21),
    (0.38, 0.59, 0.36),
    (0.20, 0.49, 0.50),
    (0.73, 0.20, 0.18),
    (0.48, 0.35, 0.62),
    (0.89, 0.56, 0.24),
)
"""Backgrounds drawn from, sRGB. None is near white: before one, white glaze can be traded for holes at no cost."""
_BACKGROUND_WORDS = ("grey", "dark grey", "brown", "green", "teal", "red", "purple", "orange")


def background_word(background: Colour) -> str:
    """What a prompt calls one of ``BACKGROUNDS``."""
    return _BACKGROUND_WORDS[BACKGROUNDS.index(background)]


@dataclass(frozen=True)
class Views:
    """Cameras of one step with their words and backgrounds (sRGB), one of each per view."""

    cameras: list[Camera]
    words: list[str]
    backgrounds: list[Colour]

    def rays(self, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Origins, directions and background colours of all pixels of all views, each [V * size * size, 3]."""
        pairs = [camera_rays(camera, size) for camera in self.cameras]
        background = torch.tensor(self.backgrounds).repeat_interleave(size * size, dim=0)
        return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs]), background


def draw_views(
    count: int, elevation_min_rad: float, elevation_max_rad: float, generator: torch.Generator
) -> Views:
    """``count`` cameras evenly around the object from a random azimuth, each with its own elevation and background."""
    turn, *heights = torch.rand(1 + count, generator=generator, dtype=torch.float64).tolist()
    picks = torch.randint(len(BACKGROUNDS), (count,), generator=generator).tolist()
    azimuths = [2 * math.pi * (turn + index / count) for index in range(count)]
    elevations = [elevation_min_rad + height * (elevation_max_rad - elevation_min_rad) for height in heights]
    return Views(
        cameras=[orbit_camera(a, e) for a, e in zip(azimuths, elevations, strict=True)],
        words=[view_word(a, e) for a, e in zip(azimuths, elevations, strict=True)],
        backgrounds=[BACKGROUNDS[pick] for pick in picks],
    )
