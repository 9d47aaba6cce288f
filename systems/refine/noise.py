"""Where the noise of score distillation comes from (``refine.noise``).

Fresh noise at every step is DreamFusion's. Noise that is fixed for each direction of view makes distillation follow one
path of the probability flow instead of an average over many, which keeps detail (flow score distillation,
arxiv.org/abs/2405.15891). Either way every entry is unit normal, so the loss's expectation over seeds is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from ...guidance.noise import named_generator
from ..field.cameras import Camera
from .views import Views

NoiseSource = Callable[[Views, Sequence[int], torch.Generator], torch.Tensor]
"""(views, shape of the latents [V, C, h, w], the step's generator) -> unit normal noise [V, C, h, w]."""

_BIN_RAD = math.radians(15.0)


def random_noise(seed: int) -> NoiseSource:
    """Drawn anew at every step."""
    return lambda views, shape, generator: torch.randn(tuple(shape), generator=generator)


def noise_per_view(seed: int) -> NoiseSource:
    """The same whenever the object is seen from the same direction, to 15 degrees."""

    def draw(views: Views, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
        fixed = (
            named_generator(seed, "refine", "noise per view", *_direction(camera)) for camera in views.cameras
        )
        return torch.stack([torch.randn(tuple(shape[1:]), generator=one) for one in fixed])

    return draw


def _direction(camera: Camera) -> tuple[int, int]:
    """Azimuth and elevation in whole bins."""
    x, y, z = camera.position.tolist()
    turn = math.atan2(x, -y) % (2 * math.pi)
    return int(turn / _BIN_RAD), math.floor(math.atan2(z, math.hypot(x, y)) / _BIN_RAD)


NOISES: dict[str, Callable[[int], NoiseSource]] = {"random": random_noise, "per_view": noise_per_view}
"""{name: function of the seed}."""
