"""The model of a field's own renders that variational score distillation follows away from: told words and cameras."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from ...guidance.conditioning import Condition
from ...guidance.distillation import Own
from ...guidance.variational import RenderModel
from ..field.cameras import FRAMING_RADIUS, Camera
from .views import Colour, Views

NUMBERS = 13
"""What describes a camera."""


class RendersOfField:
    """An ``OwnModel``: ``guidance.variational.RenderModel``, told what is said of each view.

    Args:
        model: what learns; it knows cameras by ``NUMBERS``.
        told: (view words, background colours sRGB) -> the condition of the prompt for these views.
        steps: of Adam in each step of refinement, each on the same renders with other noise.
    """

    def __init__(
        self,
        model: RenderModel,
        told: Callable[[Sequence[str], Sequence[Colour]], Condition],
        steps: int,
    ) -> None:
        self._model, self._told, self._steps = model, told, steps

    def of(self, views: Views) -> Own:
        """What it answers to noisy latents of these views."""
        condition, cameras = self._told(views.words, views.backgrounds), described(views.cameras)
        return lambda x_t, t: self._model.predict(x_t, t, condition, cameras)

    def learn(self, latents: torch.Tensor, views: Views, generator: torch.Generator) -> float:
        """Learn the latents of these views; returns the mean loss of the steps."""
        condition, cameras = self._told(views.words, views.backgrounds), described(views.cameras)
        losses = [self._model.learn(latents, condition, cameras, generator) for _ in range(self._steps)]
        return sum(losses) / len(losses)

    def state(self) -> Mapping[str, torch.Tensor]:
        """The model's."""
        return self._model.state()


def described(cameras: Sequence[Camera]) -> torch.Tensor:
    """What a network is told of cameras, [V, NUMBERS]: axes and place (over the usual distance), and field of view."""
    scale = torch.tensor([1.0, 1.0, 1.0, 1 / FRAMING_RADIUS])
    rows = [
        torch.cat([(one.cam_to_world[:3] * scale).flatten(), torch.tensor([one.fov_y_rad])])
        for one in cameras
    ]
    return torch.stack(rows)
