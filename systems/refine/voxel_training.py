"""The voxel field under training: soft at first, hard at the end, coloured from its surface, near where it began."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...configs.over_steps import changes
from ...configs.schema import RefineConfig
from ..field.voxels import VoxelField
from ..types import RadianceField
from .connectivity import join_pieces
from .regularisers import drift, indecision, total_variation
from .step import Loss, Step
from .surface_colour import SurfaceColoured
from .trainable import Trained
from .warm_start import warm_start

_LAST_DRIFT = 0.2  # of the drift's weight stays to the end: it alone holds what no picture shows


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
            "shape variation": self._shape_variation,
            "colour variation": self._colour_variation,
            "indecision": self._indecision,
        }

    def _drift(self, step: Step) -> torch.Tensor:
        fades = 1.0 if changes(self._config.drift_weight) else max(1 - step.done, _LAST_DRIFT)
        weight = step.at(self._config.drift_weight) * fades
        return weight * drift(self.field.raw_density, self._initial, self._matter)

    def _shape_variation(self, step: Step) -> torch.Tensor:
        return (
            step.at(self._config.tv_weight) * total_variation(self._shown.occupancy[..., None]) / self._matter
        )

    def _colour_variation(self, step: Step) -> torch.Tensor:
        # Colour matters only where there is matter; elsewhere nothing shows it.
        colour = torch.sigmoid(self._shown.raw_colour)
        variation = total_variation(colour, self._shown.occupancy.detach())
        return step.at(self._config.tv_color_weight) * variation / self._matter

    def _indecision(self, step: Step) -> torch.Tensor:
        rises = 1.0 if changes(self._config.indecision_weight) else step.done
        weight = step.at(self._config.indecision_weight) * rises
        return weight * indecision(self._shown.occupancy, self._matter)

    @torch.no_grad()
    def finish(self) -> VoxelField:
        """As hard as it gets, in one piece, empty where nobody sees, and coloured from its surface."""
        field = self.field
        self.anneal(1.0)
        field.raw_density.copy_(join_pieces(field.raw_density))
        field.prune()
        field.raw_colour.copy_(SurfaceColoured(field).raw_colour)
        return field
