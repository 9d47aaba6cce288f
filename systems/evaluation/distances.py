"""How two sets of pictures differ, told from their features: a kernel distance, and who lies among whom.

All take features [N, D] of an extractor (``extractors``), real ones first. The Frechet distance is in ``frechet``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NEIGHBOURS = 5


def kernel_distance(real: np.ndarray, made: np.ndarray) -> float:
    """KID: squared maximum mean discrepancy of the kernel (x.y / D + 1)^3, without bias; about 0 for equal sets.

    Bińkowski et al. 2018, "Demystifying MMD GANs", arxiv.org/abs/1801.01401, section 4. All pairs are taken instead of
    averages over blocks of 1,000, so it is the same for every order of the pictures. Published figures are often this
    times 1,000.

    Args:
        real: [N, D], N >= 2. made: [M, D], M >= 2.
    """
    n, m = len(real), len(made)
    among_real, among_made = _cubic(real, real), _cubic(made, made)
    within_real = (among_real.sum() - np.trace(among_real)) / (n * (n - 1))
    within_made = (among_made.sum() - np.trace(among_made)) / (m * (m - 1))
    return float(within_real + within_made - 2 * _cubic(real, made).mean())


def _cubic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a @ b.T / a.shape[1] + 1) ** 3


@dataclass(frozen=True)
class Coverage:
    """Who lies among whom: each from 0 to 1, but density, which may exceed 1.

    precision: share of made pictures inside a ball round some real one; recall: of real ones inside a ball round some
    made one (Kynkäänniemi et al. 2019, arxiv.org/abs/1904.06991). density: how many real balls hold a made picture,
    over k; coverage: share of real balls that hold one (Naeem et al. 2020, arxiv.org/abs/2002.09797), which one
    outlier cannot raise. A ball reaches to its picture's k-th nearest neighbour in its own set.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def coverage(real: np.ndarray, made: np.ndarray, neighbours: int = NEIGHBOURS) -> Coverage:
    """Precision, recall, density and coverage of features [N, D] and [M, D], both of more than ``neighbours`` rows.

    Raises: ValueError for smaller sets.
    """
    if min(len(real), len(made)) <= neighbours:
        raise ValueError(f"coverage needs more than {neighbours} of each, not {len(real)} and {len(made)}.")
    apart = _distances(real, made)
    in_real = apart < _radii(real, neighbours)[:, None]
    in_made = apart < _radii(made, neighbours)[None, :]
    return Coverage(
        precision=float(in_real.any(0).mean()),
        recall=float(in_made.any(1).mean()),
        density=float(in_real.sum(0).mean() / neighbours),
        coverage=float(in_real.any(1).mean()),
    )


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    return np.sqrt(squared.clip(0))


def _radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance of each row to its k-th nearest neighbour, itself not counted: [N]."""
    apart = _distances(features, features)
    np.fill_diagonal(apart, np.inf)
    return np.partition(apart, neighbours - 1, axis=1)[:, neighbours - 1]


def interval(
    figure: Callable[[np.ndarray], float], count: int, *, draws: int = 200, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of a figure (Efron 1979): how far it would move had other pictures been drawn.

    Percentiles of the figure over draws with repetition, moved so that their mean is the figure itself: distances
    between sets grow when pictures repeat, which says nothing about the pictures.

    Args:
        figure: of the rows [count] that it is given, some of them more than once.
        count: how many pictures there are.
    """
    rng = np.random.default_rng(seed)
    values = np.array([figure(rng.integers(0, count, count)) for _ in range(draws)])
    centred = values - values.mean() + figure(np.arange(count))
    low, high = np.quantile(centred, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
