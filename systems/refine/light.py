"""Lit views: shape is learned from its shading, and light is not painted into the base colour.

Now and then all views of a step are shown as if a lamp stood somewhere before each,

    rgb = albedo (0.1 + 0.9 max(0, n . l)),   l from the point to the lamp, n the normal,

and of these some without albedo, white all over, so that nothing but the shape can answer to the prompt (DreamFusion,
arxiv.org/abs/2209.14988, section 3.2; 0.1 and 0.9 are threestudio's). Colours are sRGB as everywhere else. The picture
is looked at without a lamp: it has its own light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ...configs.over_steps import number_at
from ...configs.schema import RefineConfig
from ..field.normals import Repainted, normals
from ..types import RadianceField
from .views import Views

_AMBIENT, _DIFFUSE = 0.1, 0.9
_DISTANCE = (2.0, 4.0)  # of the lamp from the middle of the object, which lies within 1


@dataclass(frozen=True)
class Light:
    """A lamp for each view [3], and whether nothing but its light is seen."""

    places: list[torch.Tensor]
    textureless: bool

    def on(self, field: RadianceField, view: int, spacing: float) -> Repainted:
        """The field in the light of a view's lamp.

        Args:
            spacing: of the normals, see ``field.normals``.
        """
        place = self.places[view]

        def paint(
            points: torch.Tensor, density: torch.Tensor, rgb: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            to_lamp = torch.nn.functional.normalize(place.to(points) - points, dim=-1)
            facing = (normals(field, points, spacing) * to_lamp).sum(-1, keepdim=True).clamp_min(0)
            albedo = torch.ones_like(rgb) if self.textureless else rgb
            return density, albedo * (_AMBIENT + _DIFFUSE * facing)

        return Repainted(field, paint)


def draw_light(config: RefineConfig, views: Views, step: int, generator: torch.Generator) -> Light | None:
    """The lamps of a step, or None for one that shows the base colour; nothing is drawn where ``refine.light=none``.

    A lamp stands about where the camera does: its direction is the camera's, normalised, plus a unit normal vector.
    """
    if config.light == "none":
        return None
    lit, textureless = torch.rand(2, generator=generator).tolist()
    if lit >= number_at(config.light_share, step):
        return None
    places = []
    for camera in views.cameras:
        about = torch.nn.functional.normalize(camera.position, dim=0) + torch.randn(3, generator=generator)
        share = float(torch.rand((), generator=generator))
        distance = _DISTANCE[0] + share * (_DISTANCE[1] - _DISTANCE[0])
        places.append(distance * about / max(math.sqrt(float(about.square().sum())), 1e-6))
    return Light(places, textureless < number_at(config.textureless_share, step))
