"""Which way the surface of any field looks, and fields in colours other than their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..types import RadianceField
from .query import density_of, device_of
from .ray_sampling import LOOK
from .shapes import Cells, PerPoint, Points

Paint = Callable[[Points, PerPoint, Points], tuple[PerPoint, Points]]
"""points [N, 3], density [N], rgb [N, 3] -> the same density, whatever is to be seen instead of rgb [N, 3]."""

# Of a slope's length, per unit length squared: flatter than this there is no direction. A surface's is about a
# thousand. In the haze around an object that is still soft, slopes are rounding, and a direction's derivative is one
# over them.
_LEAST = 1.0


def normals(field: RadianceField, points: Points, spacing: float) -> Points:
    """-grad density / |grad density|, by central differences: [N, 3], out of the matter, differentiable.

    Args:
        spacing: between a point and its neighbours; about a cell of a grid. Where the density hardly changes over it,
            deep inside or far away, the normal is about 0.
    """
    steps = spacing * torch.eye(3, dtype=points.dtype, device=points.device)
    around = torch.cat([points + step for step in steps] + [points - step for step in steps])
    density = density_of(field, around).view(2, 3, len(points))
    slope = (density[1] - density[0]).T / (2 * spacing)
    return slope / (slope.square().sum(-1, keepdim=True) + _LEAST**2).sqrt()


@dataclass(frozen=True)
class Repainted:
    """A field as it is, seen in other colours."""

    field: RadianceField
    paint: Paint

    def __call__(self, points: Points) -> tuple[PerPoint, Points]:
        """points [N, 3] -> density [N], what ``paint`` shows [N, 3]."""
        return self.paint(points, *self.field(points))

    def density_at(self, points: Points) -> PerPoint:
        """The field's own, which needs no paint."""
        return density_of(self.field, points)

    @property
    def device(self) -> torch.device:
        """Where the field is."""
        return device_of(self.field)

    def occupied(self) -> Cells:
        """Where the field says that rendering has to look; everywhere if it does not say."""
        own = getattr(self.field, "occupied", None)
        return torch.full((1, 1, 1), LOOK, dtype=torch.uint8) if own is None else own()
