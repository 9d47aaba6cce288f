"""Which other views a view must stay away from, and how strongly: Perp-Neg against objects with a face on every side.

Perp-Neg (arxiv.org/abs/2304.04968, section 4): seen from azimuth a, the prompt of the view itself is the positive, and
prompts of other views are negatives, with weights that change with a by f(r) = A exp(-B r) + C. A model that saw
most things from the front says "front" to every prompt, so from the side and from behind it is pushed away the hardest.
A, B, C are those that threestudio uses; there the positive is a mixture of two texts, here it is the view's own.
"""

from __future__ import annotations

import math

# 1.57 where r = 0, nothing where r = 1
_FRONT_OR_SIDE = (4.0, 0.5, -2.426)
# 0.39 behind, nothing at the side
_SIDE_FROM_BEHIND = (1.0, 0.5, -0.606)
# 1.97 behind; goes on from 1.57 at the side
_FRONT_FROM_BEHIND = (1.0, 0.5, 0.967)


def view_negatives(azimuth_rad: float) -> dict[str, float]:
    """Weights, at least 0, of the negatives ``front`` and ``side`` for a camera at an azimuth, 0 the front."""
    turned = abs(math.remainder(azimuth_rad, 2 * math.pi)) / (math.pi / 2)  # 0 front, 1 side, 2 back
    if turned <= 1:
        weights = {"front": _decay(_FRONT_OR_SIDE, 1 - turned), "side": _decay(_FRONT_OR_SIDE, turned)}
    else:
        weights = {
            "front": _decay(_FRONT_FROM_BEHIND, 2 - turned),
            "side": _decay(_SIDE_FROM_BEHIND, 2 - turned),
        }
    return {view: max(0.0, weight) for view, weight in weights.items()}


def _decay(constants: tuple[float, float, float], r: float) -> float:
    a, b, c = constants
    return a * math.exp(-b * r) + c
