"""The Frechet distance between two sets of features, over the leading directions of a true one.

    d^2 = |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))

of two Gaussians (Dowson and Landau 1982; FID, arxiv.org/abs/1706.08500, takes Inception's features). With a few hundred
pictures a covariance over 1,280 features is mostly noise, hence 48 directions. Small samples make it larger, so only
figures of equally many pictures can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from ...configs.atomic import write_safetensors

DIRECTIONS = 48


def frechet_distance(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """Squared Frechet distance of two Gaussians: means [D], covariances [D, D]."""
    root = _root(covariance_a)
    # C_a C_b has the eigenvalues of the symmetric R C_b R, R R = C_a, whose root cannot turn complex by rounding.
    mixed = np.sqrt(np.linalg.eigvalsh(root @ covariance_b @ root).clip(0))
    apart = float(((mean_a - mean_b) ** 2).sum())
    return apart + float(np.trace(covariance_a) + np.trace(covariance_b) - 2 * mixed.sum())


def frechet_of_features(real: np.ndarray, made: np.ndarray) -> float:
    """Squared Frechet distance of features [N, D] and [M, D] over all D: FID, where they are Inception's.

    With centred features A and B, over root N - 1 and M - 1, the covariances are A'A and B'B, and the root's trace is
    the sum of the singular values of A B': N x M numbers instead of D x D, exact where covariances are singular. Not
    to be trusted below some thousands of pictures all the same: N < D pictures do not say what their covariance is.
    """
    (mean_a, a), (mean_b, b) = _centred(real), _centred(made)
    mixed = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    apart = float(((mean_a - mean_b) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * mixed)
    return max(apart, 0.0)  # rounding of equal sets


def _centred(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = features.astype(np.float64)
    mean = features.mean(0)
    return mean, (features - mean) / np.sqrt(len(features) - 1)


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


@dataclass(frozen=True)
class Reference:
    """What a set of true features [N, F] is remembered by.

    directions [F, D] orthonormal, the leading principal ones; mean [D] and covariance [D, D] of the set along them.
    """

    directions: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, directions: int = DIRECTIONS) -> Reference:
        """Of true features [N, F], N > directions."""
        features = features.astype(np.float64)
        _, _, basis = np.linalg.svd(features - features.mean(0), full_matrices=False)
        seen = features @ basis[:directions].T
        return cls(basis[:directions].T, seen.mean(0), np.cov(seen, rowvar=False))

    def distance(self, features: np.ndarray) -> float:
        """Squared Frechet distance of features [N, F] to the set."""
        seen = features.astype(np.float64) @ self.directions
        return frechet_distance(self.mean, self.covariance, seen.mean(0), np.cov(seen, rowvar=False))

    @classmethod
    def load(cls, path: Path, name: str) -> Reference:
        """One of the references in a file."""
        arrays = load_file(path)
        return cls(
            *(arrays[f"{name}/{part}"].astype(np.float64) for part in ("directions", "mean", "covariance"))
        )


def save_references(path: Path, references: dict[str, Reference]) -> None:
    """Write references by name, float32."""
    arrays = {
        f"{name}/{part}": getattr(reference, part).astype(np.float32)
        for name, reference in references.items()
        for part in ("directions", "mean", "covariance")
    }
    write_safetensors(path, arrays)
