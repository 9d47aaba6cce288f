"""At which density a field's surface lies: where someone asked for it, or where the field shows its own outlines."""

from __future__ import annotations

import numpy as np

from ...configs.errors import BadInput, SlipcastError
from .density_sampling import FirstLook
from .shapes import Nodes


def auto_threshold(density: Nodes, spacing: float | None = None) -> float:
    """The density whose surface has the outlines that the field itself shows, seen along x, y and z.

    The field's outline is where its opacity along the line of sight, 1 - exp(-sum(density) * spacing), passes 1/2; a
    threshold's outline is where the densest point of the line reaches it. Many thresholds agree almost equally well
    with a hard field: of the run within 0.002 of the best mean IoU the geometric middle is taken.

    Returns 0 if the field is nowhere half opaque. density [R, R, R] on the nodes of a regular grid, ``spacing`` apart;
    without it the grid's outermost nodes lie on the border of [-1, 1]^3.
    """
    spacing = spacing or 2 / (len(density) - 1)
    shown = [1 - np.exp(-density.sum(axis) * spacing) > 0.5 for axis in range(3)]
    if not any(mask.any() for mask in shown):
        return 0.0
    densest = [density.max(axis) for axis in range(3)]
    highest = float(density.max())
    # Density 1 needs 0.7 of the box's 2 units to become half opaque: thinner fog is never a surface.
    candidates = np.geomspace(min(1.0, highest / 4), 0.98 * highest, 96)
    agreement = np.array([_mean_iou(shown, densest, threshold) for threshold in candidates])
    worse = np.flatnonzero(agreement < agreement.max() - 0.002)
    best = int(agreement.argmax())
    first = worse[worse < best].max(initial=-1) + 1
    last = worse[worse > best].min(initial=len(candidates)) - 1
    return float(np.sqrt(candidates[first] * candidates[last]))


def _mean_iou(shown: list[np.ndarray], reach: list[np.ndarray], level: float) -> float:
    scores = []
    for mask, height in zip(shown, reach, strict=True):
        outline = height >= level
        scores.append(np.count_nonzero(mask & outline) / max(np.count_nonzero(mask | outline), 1))
    return float(np.mean(scores))


def density_level(threshold: float | str, look: FirstLook) -> float:
    """The wanted threshold as a density above 0 that the field reaches, or a sentence about why there is none."""
    highest = float(look.density.max())
    if threshold == "auto":
        found = auto_threshold(look.density, look.spacing)
        if found <= 0:
            raise SlipcastError(
                f"the field is empty: its highest density is {highest:.3g} and no line through it is half opaque "
                "(threshold 'auto'); run the lift or the refinement again with another seed"
            )
        return found
    if isinstance(threshold, str) or not threshold > 0:
        raise BadInput(f"the mesh threshold must be 'auto' or a density above 0, not {threshold!r}")
    if threshold >= highest:
        raise no_surface(threshold, highest)
    return float(threshold)


def no_surface(threshold: float, highest: float) -> SlipcastError:
    """What to say of a field that a threshold does not cut."""
    return SlipcastError(
        f"the field has no surface at threshold {threshold:.3g}: its highest density is {highest:.3g}; "
        "choose a lower threshold or 'auto'"
    )
