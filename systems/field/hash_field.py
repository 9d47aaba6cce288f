"""A radiance field in a hash grid and a small network (Instant-NGP, arXiv:2201.05989), for points of [-1, 1]^3.

    features = encode(table, (x + 1) / 2),   raw, colours = W_2 relu(W_1 features),
    sigma = s A(s (raw + bias(x))),          rgb = sigmoid(colours),

without biases in the network, so that a new field is its density bias. s is the sharpness of ``voxels``. A and bias go
by threestudio's names (``implicit-volume``: density_activation, density_bias, density_blob_scale, density_blob_std);
our own activation is the voxels' bounded one, under which raw + bias = 0 is the surface. Outside of the box the nearest
point's value holds, as with the voxels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float
from torch import nn

from .hash_grid import encode
from .hash_levels import GridShape
from .shapes import PerPoint, Points
from .voxels import DENSITY_PEAK

Raw = Float[torch.Tensor, "point 4"]

DENSITY_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": lambda raw: DENSITY_PEAK * torch.sigmoid(raw),
    "softplus": torch.nn.functional.softplus,
    "exp": lambda raw: raw.clamp_max(15.0).exp(),  # beyond, a step could only overflow
}
NORMAL_TYPES = ("analytic", "finite_difference")

_NEW_TABLE = 1e-4  # features of a new table lie within, as in the paper
_DIFFERENCE = 0.01  # between the points of a finite difference


def _blob_magic3d(points: Points, scale: float, std: float) -> PerPoint:
    """A cone of density in the middle (Magic3D, arXiv:2211.10440)."""
    return scale * (1 - points.norm(dim=-1) / std)


def _blob_dreamfusion(points: Points, scale: float, std: float) -> PerPoint:
    """A Gaussian blob (DreamFusion, arXiv:2209.14988)."""
    return scale * torch.exp(-0.5 * points.square().sum(-1) / std**2)


BLOBS: dict[str, Callable[[Points, float, float], PerPoint]] = {
    "blob_magic3d": _blob_magic3d,
    "blob_dreamfusion": _blob_dreamfusion,
}


class HashField(nn.Module):
    """A trainable radiance field: ``table`` [rows, features], ``hidden`` [neurons, width], ``output`` [4, neurons].

    Args:
        density_bias: a number, or a key of ``BLOBS``.
        generator: of the CPU, for the first parameters.
    """

    def __init__(
        self,
        shape: GridShape,
        *,
        generator: torch.Generator,
        neurons: int = 64,
        density_activation: str = "sigmoid",
        density_bias: float | str = 0.0,
        density_blob_scale: float = 10.0,
        density_blob_std: float = 0.5,
    ) -> None:
        super().__init__()
        self.shape, self.sharpness = shape, 1.0
        self._activation = DENSITY_ACTIVATIONS[density_activation]
        self._bias = density_bias
        self._blob = density_blob_scale, density_blob_std
        rows = torch.rand(shape.rows, shape.n_features_per_level, generator=generator)
        self.table = nn.Parameter((2 * rows - 1) * _NEW_TABLE)
        self.hidden = nn.Parameter(_uniform(neurons, shape.width, generator))
        self.output = nn.Parameter(_uniform(4, neurons, generator))

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return self.table.device

    def raw(self, points: Points, *, backend: str | None = None) -> Raw:
        """points [N, 3] -> density with its bias, and three colours, before their activations, [N, 4]."""
        return self._raw(points, self.output, backend)

    def _raw(self, points: Points, output: torch.Tensor, backend: str | None = None) -> torch.Tensor:
        """The first of the four values, as many as ``output`` has rows of the network's."""
        features = encode(self.table, ((points + 1) / 2).clamp(0, 1), self.shape, backend)
        values = torch.relu_(features @ self.hidden.T) @ output.T
        if self._bias == 0.0:
            return values
        if isinstance(self._bias, str):
            bias = BLOBS[self._bias](points, *self._blob)
        else:
            bias = points.new_full((len(points),), self._bias)
        return torch.cat([(values[:, 0] + bias)[:, None], values[:, 1:]], dim=1)

    def forward(self, points: Points) -> tuple[PerPoint, Points]:
        """points [N, 3] -> density [N], rgb [N, 3], differentiable with respect to parameters and points."""
        raw = self.raw(points)
        return self._density(raw[:, 0]), torch.sigmoid(raw[:, 1:])

    def density_at(self, points: Points) -> PerPoint:
        """points [N, 3] -> density [N], without the network's part that tells colours."""
        return self._density(self._raw(points, self.output[:1])[:, 0])

    def _density(self, raw: torch.Tensor) -> torch.Tensor:
        return self.sharpness * self._activation(self.sharpness * raw)

    def normals(self, points: Points, normal_type: str = "analytic") -> Points:
        """Unit vectors out of the matter, -grad raw / |grad raw|, [N, 3], without gradients; 0 where raw is flat.

        Args:
            normal_type: analytic, or finite_difference, which looks 0.005 to either side along each axis and so does
                not jump between the cells of the finest level.
        """
        if normal_type not in NORMAL_TYPES:
            raise ValueError(f"normal_type is one of {', '.join(NORMAL_TYPES)}, not {normal_type!r}")
        if normal_type == "analytic":
            with torch.enable_grad():
                places = points.detach().requires_grad_()
                (slope,) = torch.autograd.grad(self.raw(places)[:, 0].sum(), places)
        else:
            with torch.no_grad():
                steps = torch.eye(3, dtype=points.dtype, device=points.device) * (_DIFFERENCE / 2)
                sides = [
                    self.raw((points[:, None] + way * steps).reshape(-1, 3))[:, 0].view(-1, 3)
                    for way in (1, -1)
                ]
                slope = (sides[0] - sides[1]) / _DIFFERENCE
        return cast(torch.Tensor, -torch.nn.functional.normalize(slope, dim=-1))


def _uniform(rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    """Weights of a layer, He-uniform for relu."""
    return (2 * torch.rand(rows, columns, generator=generator) - 1) * math.sqrt(6 / columns)
