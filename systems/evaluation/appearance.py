"""What pictures look like: colours, edges, and how the views of one thing hang together."""

from __future__ import annotations

import numpy as np

from ..images.control_maps import canny

PURE = (0.85, 0.88)
"""Saturation and value (HSV) above which a colour counts as pure; painted things hardly have any."""


def colours(rgb: np.ndarray) -> dict[str, float]:
    """{"saturation": mean of HSV's, "pure": share of nearly pure pixels} of pixels [..., 3] in [0, 1]."""
    value, least = rgb.max(-1), rgb.min(-1)
    saturation = np.where(value > 0, (value - least) / np.maximum(value, 1e-6), 0.0)
    pure = (saturation > PURE[0]) & (value > PURE[1])
    return {"saturation": float(saturation.mean()), "pure": float(pure.mean())}


def canny_discrepancy(made: np.ndarray, wanted: np.ndarray) -> float:
    """Mean |canny(made) - canny(wanted)| of pictures [H, W, 3] in [0, 1]: 0 for the same edges, at most 1.

    The paper (arXiv 2312.08195, table 1) reports a canny discrepancy without a definition; this one, with OpenCV's
    thresholds 100 and 200, gives figures of its size.
    """
    return float(np.abs(canny(made) - canny(wanted)).mean())


def view_consistency(features: np.ndarray) -> float:
    """Mean cosine of the features of neighbouring views of one thing, all round it: [V, D] -> at most 1."""
    unit = _unit(features)
    return float((unit * np.roll(unit, 1, axis=0)).sum(1).mean())


def repeats_its_front(features: np.ndarray) -> bool:
    """Whether the view from behind is nearer to the front than both side views are: a sign of a second face (Janus).

    A proxy: bowls and vases look alike from everywhere, so it says something of things that have a front only.

    Args:
        features: [V, D] of V views all round, evenly spaced, the front first; V divisible by four.
    """
    unit = _unit(features)
    quarter = len(unit) // 4
    near = unit @ unit[0]
    return bool(near[2 * quarter] > max(near[quarter], near[3 * quarter]))


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
