"""The voxel field under training: soft at first, hard at the end, coloured from its surface, near where it began."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...configs.schema import RefineConfig
from ..field.voxels import VoxelField
from ..types import RadianceField
from .cell_terms import colour_variation, drift_weight, shape_variation, undecided
from .connectivity import join_pieces
from .regularisers import drift
from .step import Loss, Step
from .surface_colour import SurfaceColoured
from .trainable import Trained
from .warm_start import warm_start


class VoxelTraining:
    """A ``TrainableField`` on a dense grid of ``refine.resolution`` cells a side."""

    def __init__(self, init: RadianceField, config: RefineConfig) -> None:
        self.field, self._config = warm_start(init, config.resolution), config
        self._initial = self.field.raw_density.detach().clone()
        self._matter = max(1.0, torch.sigmoid(self._initial).sum().item())
        self._shown = SurfaceColoured(self.field)

    def trained(self) -> Mapping[str, Trained]:
        """The two grids."""
        return {
            "raw_density": Trained(self.field.raw_density, self._config.lr_density),
            "raw_colour": Trained(self.field.raw_colour, self._config.lr_color),
        }

    def state(self) -> Mapping[str, torch.Tensor]:
        """Nothing else."""
        return {}

    def anneal(self, done: float) -> None:
        """Soft at first, when the shape still moves; then ever harder, until the field looks like a surface."""
        self.field.sharpness = float(self._config.sharpness**done)

    def shown(self) -> RadianceField:
        """With colours from the surface."""
        self._shown = SurfaceColoured(self.field)
        return self._shown

    def shape_losses(self) -> Mapping[str, Loss]:
        """Drift fades, indecision comes up: first keep the shape, then make it crisp."""
        return {
            "drift": self._drift,
            "shape variation": lambda step: shape_variation(step, self._shown.occupancy, self._matter),
            "colour variation": lambda step: colour_variation(
                step, self._shown.raw_colour, self._shown.occupancy, self._matter
            ),
            "indecision": lambda step: undecided(step, self._shown.occupancy, self._matter),
        }

    def _drift(self, step: Step) -> torch.Tensor:
        return drift_weight(step) * drift(self.field.raw_density, self._initial, self._matter)

    @torch.no_grad()
    def finish(self) -> VoxelField:
        """As hard as it gets, in one piece, empty where nobody sees, and coloured from its surface."""
        field = self.field
        self.anneal(1.0)
        field.raw_density.copy_(join_pieces(field.raw_density))
        field.prune()
        field.raw_colour.copy_(SurfaceColoured(field).raw_colour)
        return field
