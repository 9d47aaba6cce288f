"""What is looked at in one step of refinement: cameras around the object and plain backgrounds behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ...configs.schema import RefineConfig
from ..field.cameras import (
    FRAMING_FOV_Y_RAD,
    FRAMING_RADIUS,
    Camera,
    camera_rays,
    orbit_camera,
    view_word,
)

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

    def single(self) -> list[Views]:
        """Each view by itself."""
        parts = zip(self.cameras, self.words, self.backgrounds, strict=True)
        return [Views([camera], [word], [background]) for camera, word, background in parts]

    def rays(self, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Origins, directions and background colours of all pixels of all views, each [V * size * size, 3]."""
        pairs = [camera_rays(camera, size) for camera in self.cameras]
        background = torch.tensor(self.backgrounds).repeat_interleave(size * size, dim=0)
        return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs]), background


@dataclass(frozen=True)
class Ranges:
    """Where cameras may stand and how they may look: (least, most) of each, in radians and in units of the frame."""

    elevation_rad: tuple[float, float]
    azimuth_rad: tuple[float, float] = (-math.pi, math.pi)
    fov_y_rad: tuple[float, float] = (FRAMING_FOV_Y_RAD, FRAMING_FOV_Y_RAD)
    distance: tuple[float, float] = (FRAMING_RADIUS, FRAMING_RADIUS)

    @classmethod
    def of(cls, config: RefineConfig) -> Ranges:
        """Those of the settings, which are in degrees."""

        def both(name: str) -> tuple[float, float]:
            one, other = (getattr(config, f"{name}_{end}_deg") for end in ("min", "max"))
            return math.radians(one), math.radians(other)

        distance = config.distance_min, config.distance_max
        return cls(both("elevation"), both("azimuth"), both("fov"), distance)

    @property
    def zoom(self) -> tuple[float, float]:
        """How many times larger the object looks than in the lifted picture: (least, most)."""
        usual = FRAMING_RADIUS * math.tan(FRAMING_FOV_Y_RAD / 2)
        far, near = (
            distance * math.tan(fov / 2)
            for distance, fov in zip(self.distance[::-1], self.fov_y_rad[::-1], strict=True)
        )
        return usual / far, usual / near

    @property
    def all_round(self) -> bool:
        """Whether cameras stand on all sides."""
        return self.azimuth_rad[1] - self.azimuth_rad[0] >= 2 * math.pi


def draw_views(count: int, ranges: Ranges, generator: torch.Generator) -> Views:
    """``count`` cameras evenly around the object from a random azimuth, each with its own elevation and background.

    Where they may not stand on all sides they are even over the arc: one at random in each of its ``count`` parts.
    """
    turn, *heights = torch.rand(1 + count, generator=generator, dtype=torch.float64).tolist()
    picks = torch.randint(len(BACKGROUNDS), (count,), generator=generator).tolist()
    if ranges.all_round:
        azimuths = [2 * math.pi * (turn + index / count) for index in range(count)]
    else:
        azimuths = [_within(ranges.azimuth_rad, (turn + index) / count) for index in range(count)]
    elevations = [_within(ranges.elevation_rad, height) for height in heights]
    # Drawn only where there is a choice, and last: what was drawn before stays what it was.
    fovs, distances = ([one[0]] * count for one in (ranges.fov_y_rad, ranges.distance))
    if ranges.fov_y_rad[0] < ranges.fov_y_rad[1]:
        fovs = [_within(ranges.fov_y_rad, share) for share in torch.rand(count, generator=generator).tolist()]
    if ranges.distance[0] < ranges.distance[1]:
        distances = [
            _within(ranges.distance, share) for share in torch.rand(count, generator=generator).tolist()
        ]
    places = list(zip(azimuths, elevations, distances, fovs, strict=True))
    return Views(
        cameras=[orbit_camera(a, e, radius=radius, fov_y_rad=fov) for a, e, radius, fov in places],
        words=[view_word(a, e) for a, e, _, _ in places],
        backgrounds=[BACKGROUNDS[pick] for pick in picks],
    )


def _within(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])
