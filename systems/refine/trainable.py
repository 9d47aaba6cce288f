"""What refinement asks of a field, and the table of the fields that can be refined (``refine.field``).

The loop, its losses and its checkpoints know a field by ``TrainableField`` alone. To add one, write a class and one
line in ``FIELDS``, or offer it from another package as an entry point of the group ``slipcast.fields``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch

from ...configs.over_steps import Number
from ...configs.plugins import look_up
from ...configs.schema import RefineConfig
from ..field.voxels import VoxelField
from ..types import RadianceField
from .step import Loss


class Trained(NamedTuple):
    """One parameter and Adam's learning rate for it, before warm-up and fall; a schedule is not made to fall."""

    parameter: torch.nn.Parameter
    rate: Number


class TrainableField(Protocol):
    """A radiance field under training. What a step does to it must follow from its arrays and from ``done`` alone."""

    def trained(self) -> Mapping[str, Trained]:
        """All parameters by name, float32; always the same objects in the same order."""
        ...

    def state(self) -> Mapping[str, torch.Tensor]:
        """Other float32 arrays that steps change; checkpoints keep them and put them back in place. Mostly none."""
        ...

    def anneal(self, done: float) -> None:
        """Set whatever changes over the run; ``done`` is the share of steps taken, in [0, 1)."""
        ...

    def shown(self) -> RadianceField:
        """The field as this step renders it, differentiable with respect to the parameters."""
        ...

    def shape_losses(self) -> Mapping[str, Loss]:
        """Terms on the field itself, by name, weighted; measured after ``shown`` of the same step."""
        ...

    def finish(self) -> VoxelField:
        """The refined field, on the grid that the mesh stage reads (``VoxelField.from_field`` samples any field)."""
        ...


MakesField = Callable[[RadianceField, RefineConfig], TrainableField]
"""(the lifted field, which is not to be changed; settings) -> the field to train."""


def _voxels(init: RadianceField, config: RefineConfig) -> TrainableField:
    from .voxel_training import VoxelTraining

    return VoxelTraining(init, config)


def _hash_grid(init: RadianceField, config: RefineConfig) -> TrainableField:
    from .hash_training import HashTraining

    return HashTraining(init, config)


FIELDS: dict[str, MakesField] = {"voxels": _voxels, "hashgrid": _hash_grid}


def trainable_field(name: str) -> MakesField:
    """The field of that name, ours or a plug-in's. BadInput if there is none."""
    return look_up("fields", name, FIELDS)
