"""What guidance is a sum of: branches, and weighted differences of two of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .conditioning import Condition
    from .predictors import NoisePredictor
    from .transforms import Adaptive, Adjustment, Final, Transform


@dataclass(frozen=True)
class PerSample:
    """A weight that differs from sample to sample of one batch, such as views: weight(t) times a factor for each."""

    weight: Weight
    factors: tuple[float, ...]


OverTime = float | Callable[[float], float]
"""A constant, or a function of t / T."""
Weight = OverTime | PerSample
"""Either, alike for all samples or with a factor for each."""


@dataclass(frozen=True, eq=False)
class Branch:
    """A noise predictor under one condition; two branches are equal if they share both objects.

    The name is for people (plots, error sentences). The condition is None for a predictor that is told nothing,
    a text embedding [1, tokens, width], or [batch, tokens, width] with one text per sample, or a
    ``Conditioning`` with whatever else the network takes.
    """

    name: str
    predictor: NoisePredictor
    condition: Condition = None

    def __eq__(self, other: object) -> bool:
        same_type = isinstance(other, Branch)
        return same_type and other.predictor is self.predictor and other.condition is self.condition

    def __hash__(self) -> int:
        return hash((id(self.predictor), id(self.condition)))


@dataclass(frozen=True)
class Term:
    """weight(t) * transform(eps_positive - eps_negative)."""

    positive: Branch
    negative: Branch
    weight: Weight
    transform: Transform | None = None
    adaptive: Adaptive | None = None

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Every branch the term reads."""
        return (self.positive, self.negative, *read_by(self.transform, self.adaptive))

    @property
    def is_affine(self) -> bool:
        """Whether the term is a plain weighted difference."""
        return self.transform is None and self.adaptive is None

    def weight_at(self, t: float, sample: int = 0) -> float:
        """The weight at t / T = ``t``, of one sample of the batch.

        Raises:
            ValueError: the weight is not a finite number there, or has no factor for that sample.
        """
        w = _weight_at(self.weight, t, sample)
        if not math.isfinite(w):
            raise ValueError(
                f"The weight of ({self.positive.name} - {self.negative.name}) is {w} at t/T = {t:.3f}."
            )
        return w

    def weights_at(self, times: Sequence[float]) -> list[float]:
        """The weight of each sample, by its t / T."""
        return [self.weight_at(t, sample) for sample, t in enumerate(times)]

    def difference(self, eps: Mapping[Branch, Tensor], scales: list[float]) -> tuple[Tensor, Tensor]:
        """The weights [B, 1, 1, 1] that come of these numbers, and what they weigh, after its transform."""
        delta = eps[self.positive] - eps[self.negative]
        weight = per_sample(scales, delta)
        if self.adaptive is not None:
            weight = self.adaptive(weight, delta, eps)
        return weight, delta if self.transform is None else self.transform(delta, eps)


def _weight_at(weight: Weight, t: float, sample: int) -> float:
    if not isinstance(weight, PerSample):
        return float(weight(t)) if callable(weight) else float(weight)
    if sample >= len(weight.factors):
        raise ValueError(
            f"A weight has factors for {len(weight.factors)} samples, but there is a sample {sample}."
        )
    return weight.factors[sample] * _weight_at(weight.weight, t, sample)


def read_by(*parts: Transform | Adaptive | Adjustment | Final | None) -> tuple[Branch, ...]:
    """The branches that parts of a guidance read, beside those that are added up."""
    return tuple(branch for part in parts if part is not None for branch in part.branches)


def per_sample(scales: list[float], like: Tensor) -> Tensor:
    """One number per sample, shaped [B, 1, 1, 1] to multiply latents."""
    return torch.tensor(scales, dtype=like.dtype, device=like.device).view(-1, 1, 1, 1)
