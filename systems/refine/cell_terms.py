"""Terms on the cells of a field, which every kind of field has in common: what is smooth, and what has to be decided.

Each is a sum over cells over the matter that the field began with, ``matter``, so that an object's size says nothing.
Occupancy [R, R, R] lies in [0, 1]; raw colours [R, R, R, 3] are before their sigmoid.
"""

from __future__ import annotations

import torch

from ...configs.over_steps import changes
from .regularisers import indecision, total_variation
from .step import Step

_LAST_DRIFT = 0.2  # of the drift's weight stays to the end: it alone holds what no picture shows


def drift_weight(step: Step) -> float:
    """Fades: first keep the shape. A schedule says all that it does by itself."""
    fades = 1.0 if changes(step.config.drift_weight) else max(1 - step.done, _LAST_DRIFT)
    return step.at(step.config.drift_weight) * fades


def shape_variation(step: Step, occupancy: torch.Tensor, matter: float) -> torch.Tensor:
    """Total variation of the occupancy."""
    return step.at(step.config.tv_weight) * total_variation(occupancy[..., None]) / matter


def colour_variation(
    step: Step, raw_colour: torch.Tensor, occupancy: torch.Tensor, matter: float
) -> torch.Tensor:
    """Total variation of the colours, only where there is matter; elsewhere nothing shows them."""
    variation = total_variation(torch.sigmoid(raw_colour), occupancy.detach())
    return step.at(step.config.tv_color_weight) * variation / matter


def undecided(step: Step, occupancy: torch.Tensor, matter: float) -> torch.Tensor:
    """Comes up as the drift fades, to make the shape crisp: cells that are neither solid nor empty."""
    rises = 1.0 if changes(step.config.indecision_weight) else step.done
    weight = step.at(step.config.indecision_weight) * rises
    return weight * indecision(occupancy, matter)
