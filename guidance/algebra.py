"""One formula for every guidance: a base, and weighted differences of what the denoisers say.

    eps_hat(x_t, t) = eps_base + sum_i w_i(t) * T_i(eps_pos_i - eps_neg_i)

A *branch* is a noise predictor under a condition. A *term* is (positive branch, negative branch, weight).
T_i is the identity unless a term names a transform (Perp-Neg). Methods that go beyond the formula hang into it at four
places, ``guidance.transforms``: T_i, weights computed from the data, branches adjusted first, the sum changed last.

Convention, stated once and used everywhere: w = 1 with one term around the base returns the positive branch,
w = 0 returns the base, so w is diffusers' ``guidance_scale``. Papers that start from the text branch use
s = w - 1 (Ho & Salimans; threestudio's 100 is 101 here).

Time in weights: a weight may be a function of ``t / T`` in [0, 1), the training timestep over the number of
training timesteps; 0 is the clean end, 1 is noise.

With identity transforms the formula is an affine sum over UNIQUE branches: its coefficients sum to 1, so it
holds for eps, v, x0 and score alike as long as all branches share x_t, t, noise schedule and latent space.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .shapes import Latents

if TYPE_CHECKING:
    from .conditioning import Condition
    from .predictors import NoisePredictor
    from .transforms import Adaptive, Adjustment, Final, Transform

Weight = float | Callable[[float], float]
"""A constant, or a function of t / T."""

Answers = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""eps -> what a network answers, and back."""

_ROUNDING = 1e-12  # 1 - 0.3 - 0.7 is not 0 in floating point; a branch must not be evaluated for that.


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
        return (self.positive, self.negative, *_read_by(self.transform, self.adaptive))

    @property
    def is_affine(self) -> bool:
        """Whether the term is a plain weighted difference."""
        return self.transform is None and self.adaptive is None

    def weight_at(self, t: float) -> float:
        """The weight at t / T = ``t``.

        Raises:
            ValueError: the weight is not a finite number there.
        """
        w = float(self.weight(t)) if callable(self.weight) else float(self.weight)
        if not math.isfinite(w):
            raise ValueError(
                f"The weight of ({self.positive.name} - {self.negative.name}) is {w} at t/T = {t:.3f}."
            )
        return w


@dataclass(frozen=True)
class Guidance:
    """A base branch and the terms added to it; the whole of guidance, as data.

    Attributes:
        channels: guide the first so many channels only; None guides all. DiT's released sampler guides 3 of 4.
        rest: the branch that gives the other channels (a learned variance among them); the base if None.
        adjustment: changes what single branches say before anything is added up.
        final: changes the finished prediction.
    """

    base: Branch
    terms: Sequence[Term] = ()
    channels: int | None = None
    rest: Branch | None = None
    adjustment: Adjustment | None = None
    final: Final | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(self.terms))
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"channels is the number of guided channels, at least 1, not {self.channels}.")
        names = [branch.name for branch in self.branches]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"Different branches need different names, but {twice} stand for more than one branch."
            )

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Every unique branch, the base first."""
        rest = [self.rest] if self.rest else []
        of_terms = (branch for term in self.terms for branch in term.branches)
        return tuple(dict.fromkeys([self.base, *of_terms, *rest, *self._always]))

    @property
    def _always(self) -> tuple[Branch, ...]:
        """Branches that are read whatever the weights are."""
        return _read_by(self.adjustment, self.final)

    def coefficients(self, t: float, *, drop_base: bool = False) -> dict[Branch, float]:
        """The number in front of each unique branch at t / T = ``t``; they sum to 1.

        Terms that are not affine have no such numbers; they are left out here and added by ``combine``.

        Args:
            t: t / T in [0, 1].
            drop_base: leave out the leading eps_base, so that the coefficients sum to 0.
        """
        parts: dict[Branch, list[float]] = {self.base: [] if drop_base else [1.0]}
        for term in self.terms:
            if term.is_affine:
                w = term.weight_at(t)
                parts.setdefault(term.positive, []).append(w)
                parts.setdefault(term.negative, []).append(-w)
        sums = {branch: math.fsum(values) for branch, values in parts.items()}
        return {branch: 0.0 if abs(value) < _ROUNDING else value for branch, value in sums.items()}

    def needed(self, times: Iterable[float], *, drop_base: bool = False) -> tuple[Branch, ...]:
        """The branches that take part at one of these t / T: the others need not be evaluated."""
        found = set(self._always) | ({self.rest or self.base} if self.channels is not None else set())
        if drop_base and self.final is not None:  # what changes the whole needs the whole
            found.add(self.base)
            drop_base = False
        for t in set(times):
            found.update(branch for branch, c in self.coefficients(t, drop_base=drop_base).items() if c != 0)
            others = [term for term in self.terms if not term.is_affine and term.weight_at(t) != 0]
            found.update(branch for term in others for branch in term.branches)
        return tuple(branch for branch in self.branches if branch in found)

    def combine(
        self,
        eps: Mapping[Branch, Latents],
        times: Sequence[float],
        *,
        drop_base: bool = False,
        answers: Answers | None = None,
    ) -> Latents:
        """The formula on tensors.

        Args:
            eps: what each needed branch says, [B, C, h, w] each.
            times: t / T of each sample, B numbers.
            drop_base: leave out eps_base: only the sum of the weighted differences.
            answers: how eps becomes what the network answers (v, x0) and back, for a ``final`` of that; the identity
                if None.
        Returns:
            eps_hat [B, C, h, w]
        Raises:
            ValueError: drop_base with partly guided channels: the others have no difference to a base.
        """
        if drop_base and self.channels is not None:
            raise ValueError("Guidance of some channels only cannot drop its base; leave channels at None.")
        if self.adjustment is not None:
            eps = self.adjustment(eps)
        total = self._sum(eps, times, drop_base=drop_base and self.final is None)
        if self.final is not None:
            total = self._finished(self.final, total, eps, answers)
            total = total - eps[self.base] if drop_base else total
        if self.channels is None:
            return total
        return torch.cat([total[:, : self.channels], eps[self.rest or self.base][:, self.channels :]], 1)

    @staticmethod
    def _finished(
        final: Final, total: Tensor, eps: Mapping[Branch, Tensor], answers: Answers | None
    ) -> Tensor:
        if answers is None or not final.of_answers:
            return final(total, eps)
        answer, to_eps = answers
        return to_eps(final(answer(total), {branch: answer(eps[branch]) for branch in final.branches}))

    def _sum(self, eps: Mapping[Branch, Tensor], times: Sequence[float], *, drop_base: bool) -> Tensor:
        """Base and terms added up."""
        rows = {t: self.coefficients(t, drop_base=drop_base) for t in set(times)}
        total = torch.zeros_like(next(iter(eps.values())))
        for branch in rows[times[0]]:
            scales = [rows[t][branch] for t in times]
            if any(scales):
                total = total + _per_sample(scales, total) * eps[branch]
        for term in self.terms:
            scales = [term.weight_at(t) for t in times]
            if not term.is_affine and any(scales):
                total = total + _added(term, scales, eps)
        return total

    def parts(self, eps: Mapping[Branch, Latents], times: Sequence[float]) -> dict[str, Latents]:
        """What each term adds to the base, w_i(t) T_i(eps_pos_i - eps_neg_i), by the names of its branches: for norms.

        Terms that are off at all of ``times`` are left out, and those with a branch that nobody had to ask. What
        ``final`` does to the sum is no term's.
        """
        if self.adjustment is not None:
            eps = self.adjustment(eps)
        found: dict[str, Latents] = {}
        for term in self.terms:
            scales = [term.weight_at(t) for t in times]
            if any(scales) and all(branch in eps for branch in term.branches):
                name = f"{term.positive.name} - {term.negative.name}"
                twice = sum(one == name or one.startswith(f"{name} (") for one in found)
                found[f"{name} ({twice + 1})" if twice else name] = _added(term, scales, eps)
        return found


def _read_by(*parts: Transform | Adaptive | Adjustment | Final | None) -> tuple[Branch, ...]:
    return tuple(branch for part in parts if part is not None for branch in part.branches)


def _added(term: Term, scales: list[float], eps: Mapping[Branch, Tensor]) -> Tensor:
    """A term's part of the sum."""
    delta = eps[term.positive] - eps[term.negative]
    weight: Tensor = _per_sample(scales, delta)
    if term.adaptive is not None:
        weight = term.adaptive(weight, delta, eps)
    if term.transform is not None:
        delta = term.transform(delta, eps)
    return weight * delta


def _per_sample(scales: list[float], like: Tensor) -> Tensor:
    """One number per sample, shaped [B, 1, 1, 1] to multiply latents."""
    return torch.tensor(scales, dtype=like.dtype, device=like.device).view(-1, 1, 1, 1)
