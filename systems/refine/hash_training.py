"""The hash field under training: as the voxels are, soft at first, hard at the end, near where it began.

Views are rendered from the field itself, at every sample. What the voxels' terms say of cells is said of the same cells
here: the field is asked at the centres of those near the lifted surface, and farther away, where refinement does not
move a surface to, the lifted field stands for it in the terms, in the mask of empty space and in what comes out. There,
points at random hold the field to the lifted one, since vertices near and far share rows of the table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

import torch

from ...configs.schema import RefineConfig
from ..field.hash_field import HashField
from ..field.hash_levels import GridShape
from ..field.trilinear import interpolate
from ..field.voxels import DENSITY_PEAK, NEGLIGIBLE_DENSITY, VoxelField, cell_centres, occupied_cells
from ..types import RadianceField
from .cell_terms import colour_variation, drift_weight, shape_variation, undecided
from .hash_finish import as_voxels, largest_around
from .hash_fit import fitted, near_surface
from .regularisers import drift
from .step import Loss, Step, picture_colour, picture_coverage
from .trainable import Trained
from .warm_start import warm_start

_FAR_POINTS = 2048  # a step's, of the drift's share far from the surface
_NETWORK_SHARE = 0.1  # of the table's rate: a weight of the network moves everything at once
_SURE = 2.0  # raw density, at sharpness 1, of cells that are solid: as to ``voxels.occupied_cells``
_DARK = 1.4e-3  # of the light: a cell that no more than this comes to is not seen


class HashTraining:
    """A ``TrainableField`` in a hash grid (``refine.hash_levels`` and the like)."""

    def __init__(self, init: RadianceField, config: RefineConfig) -> None:
        self._config, self._start = config, warm_start(init, config.resolution).requires_grad_(False)
        shape = GridShape(
            n_levels=config.hash_levels,
            n_features_per_level=config.hash_features,
            log2_hashmap_size=config.hash_log2_size,
        )
        self.field = fitted(self._start, shape, config.hash_neurons)
        self._matter = max(1.0, torch.sigmoid(self._start.raw_density).sum().item())
        self._near = near_surface(self._start.raw_density)
        places = cell_centres(config.resolution, self.field.device)
        self._places, self._far = places[self._near.reshape(-1)], places[~self._near.reshape(-1)]

    def trained(self) -> Mapping[str, Trained]:
        """The table and the network's two layers."""
        rate = self._config.hash_lr
        return {
            "table": Trained(self.field.table, rate),
            "hidden": Trained(self.field.hidden, rate * _NETWORK_SHARE),
            "output": Trained(self.field.output, rate * _NETWORK_SHARE),
        }

    def state(self) -> Mapping[str, torch.Tensor]:
        """Nothing else: 12 bytes a parameter are all that a checkpoint holds of it."""
        return {}

    def anneal(self, done: float) -> None:
        """Soft at first, when the shape still moves; then ever harder, until the field looks like a surface."""
        self.field.sharpness = float(self._config.sharpness**done)

    def shown(self) -> RadianceField:
        """The field, and its values at the cells that the terms look at."""
        raw = self._start.raw_density.masked_scatter(
            self._near, (values := self.field.raw(self._places))[:, 0]
        )
        colours = self._start.raw_colour.masked_scatter(self._near[..., None], values[:, 1:])
        self._shown = _AtCells(self.field, raw, colours)
        return self._shown

    def shape_losses(self) -> Mapping[str, Loss]:
        """The voxels' terms, with their weights; the picture weighs more."""
        return {
            "picture colour": lambda step: self._anchored(picture_colour(step)),
            "picture coverage": lambda step: self._anchored(picture_coverage(step)),
            "drift": self._drift,
            "shape variation": lambda step: shape_variation(step, self._shown.occupancy, self._matter),
            "colour variation": lambda step: colour_variation(
                step, self._shown.raw_colour, self._shown.occupancy, self._matter
            ),
            "indecision": lambda step: undecided(step, self._shown.occupancy, self._matter),
        }

    def _anchored(self, loss: torch.Tensor | None) -> torch.Tensor | None:
        """What the picture shows shares rows and network with what it does not show, and would be moved by that."""
        return None if loss is None else self._config.hash_anchor * loss

    def _drift(self, step: Step) -> torch.Tensor:
        start, weight = self._start, drift_weight(step)
        near = drift(self._shown.raw_density, start.raw_density, self._matter)
        if not len(self._far):
            return weight * near
        picks = torch.randint(len(self._far), (_FAR_POINTS,), generator=step.generator)
        jitter = (torch.rand(_FAR_POINTS, 3, generator=step.generator) * 2 - 1) / start.resolution
        points = self._far[picks.to(self._far.device)] + jitter.to(self._far.device)
        wanted = interpolate(torch.cat([start.raw_density[..., None], start.raw_colour], -1), points)[:, 0]
        # Each point stands for as many cells, so that the term is the voxels' on average.
        far = drift(self.field.raw(points)[:, 0], wanted, self._matter) * len(self._far) / _FAR_POINTS
        return weight * (near + far)

    def finish(self) -> VoxelField:
        """On a finer grid."""
        self.anneal(1.0)
        return as_voxels(self.field, self._start, self._near)


class _AtCells:
    """A hash field at this moment; ``raw_density`` [R, R, R] and ``raw_colour`` [R, R, R, 3] are its values at cells.

    Only points that light reaches are asked for: the others lie in cells which their neighbours show to be empty, or
    deep inside, and are that. Half of a ray's samples are.
    """

    def __init__(self, field: HashField, raw_density: torch.Tensor, raw_colour: torch.Tensor) -> None:
        self._field, self.raw_density, self.raw_colour = field, raw_density, raw_colour

    def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """points [N, 3] -> density [N], rgb [N, 3]."""
        fill, seen = self._filled(points)
        density, colour = self._field(points[seen])
        return fill.index_copy(0, seen, density), torch.zeros_like(points).index_copy(0, seen, colour)

    def density_at(self, points: torch.Tensor) -> torch.Tensor:
        """points [N, 3] -> density [N]."""
        fill, seen = self._filled(points)
        return fill.index_copy(0, seen, self._field.density_at(points[seen]))

    def _filled(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is known of points without asking the field, [N], and which must be asked for, indices [M]."""
        size = len(self._fill)
        x, y, z = ((points + 1) * (size / 2)).long().clamp_(0, size - 1).unbind(-1)
        fill = self._fill.view(-1)[(x * size + y) * size + z]
        return fill, fill.isnan().nonzero()[:, 0]

    @cached_property
    def _fill(self) -> torch.Tensor:
        """The density of points in a cell that need not be asked for, [R, R, R]; NaN where they must be."""
        raw, s = self.raw_density.detach(), self._field.sharpness
        solid = s * DENSITY_PEAK * torch.sigmoid(torch.tensor(_SURE)).item()
        deep = max(1, math.ceil(-math.log(_DARK) * len(raw) / (2 * solid)))  # cells that dim light so far
        empty = torch.logit(torch.tensor(NEGLIGIBLE_DENSITY / (s * DENSITY_PEAK))).item() / s
        fill = torch.full_like(raw, torch.nan)
        fill[largest_around(raw, 1) < empty] = 0.0
        fill[largest_around(-raw, deep) < -_SURE / s] = solid
        return fill

    @property
    def device(self) -> torch.device:
        """Where the field is."""
        return self._field.device

    @cached_property
    def occupancy(self) -> torch.Tensor:
        """[R, R, R] in [0, 1]; 1 is solid."""
        return torch.sigmoid(self.raw_density)

    def occupied(self) -> torch.Tensor:
        """Where rendering has to look (see ``voxels.occupied_cells``)."""
        return self._seen

    @cached_property
    def _seen(self) -> torch.Tensor:
        return occupied_cells(self.raw_density, self._field.sharpness)
