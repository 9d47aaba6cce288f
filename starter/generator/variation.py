"""How one family differs from object to object: chosen options, and profiles never quite the same."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Option = TypeVar("Option")
Profile = Sequence[tuple[float, float]]


def varied(
    rng: np.random.Generator, profile: Profile, *, width: float = 0.10, height: float = 0.08
) -> np.ndarray:
    """The profile [K, 2], made wider or higher as a whole and a little different at every point."""
    points = np.array(profile, dtype=float)
    points[:, 0] *= rng.uniform(1 - width, 1 + width) * rng.uniform(0.95, 1.05, len(points))
    points[:, 1] *= rng.uniform(1 - height, 1 + height)
    return points


def pick(rng: np.random.Generator, options: Sequence[Option]) -> Option:
    """One of several options, all equally likely."""
    return options[int(rng.integers(len(options)))]
