"""One formula for every guidance: a base, and weighted differences of what the denoisers say.

    eps_hat(x_t, t) = eps_base + sum_i w_i(t) * T_i(eps_pos_i - eps_neg_i)

A *branch* is a noise predictor under a condition. A *term* is (positive branch, negative branch, weight).
T_i is the identity unless a term names a transform (Perp-Neg). Methods that go beyond the formula hang into it at four
places, ``guidance.transforms``: T_i, weights computed from the data, branches adjusted first, the sum changed last.

Convention, stated once and used everywhere: w = 1 with one term around the base returns the positive branch,
w = 0 returns the base, so w is diffusers' ``guidance_scale``. Papers that start from the text branch use
s = w - 1 (Ho & Salimans; threestudio's 100 is 101 here).

Time in weights: a weight may be a function of ``t / T`` in [0, 1), the training timestep over the number of
training timesteps; 0 is the clean end, 1 is noise. Where a batch holds views, it may differ from one to the other.

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
from .terms import Branch, OverTime, PerSample, Term, Weight, per_sample, read_by

if TYPE_CHECKING:
    from .combining import Combination
    from .transforms import Adjustment, Final

__all__ = ["Answers", "Branch", "Guidance", "OverTime", "PerSample", "Term", "Weight"]

Answers = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""eps -> what a network answers, and back."""

_ROUNDING = 1e-12  # 1 - 0.3 - 0.7 is not 0 in floating point; a branch must not be evaluated for that.


@dataclass(frozen=True)
class Guidance:
    """A base branch and the terms added to it; the whole of guidance, as data.

    Attributes:
        channels: guide the first so many channels only; None guides all. DiT's released sampler guides 3 of 4.
        rest: the branch that gives the other channels (a learned variance among them); the base if None.
        adjustment: changes what single branches say before anything is added up.
        final: changes the finished prediction.
        combination: puts the terms together in another way than by their sum (``guidance.combining``).
    """

    base: Branch
    terms: Sequence[Term] = ()
    channels: int | None = None
    rest: Branch | None = None
    adjustment: Adjustment | None = None
    final: Final | None = None
    combination: Combination | None = None

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
        return read_by(self.adjustment, self.final)

    def coefficients(self, t: float, sample: int = 0, *, drop_base: bool = False) -> dict[Branch, float]:
        """The number in front of each unique branch at t / T = ``t``, for one sample of the batch; they sum to 1.

        Terms that are not affine have no such numbers; they are left out here and added by ``combine``.

        Args:
            t: t / T in [0, 1].
            drop_base: leave out the leading eps_base, so that the coefficients sum to 0.
        """
        parts: dict[Branch, list[float]] = {self.base: [] if drop_base else [1.0]}
        for term in self.terms:
            if term.is_affine:
                w = term.weight_at(t, sample)
                parts.setdefault(term.positive, []).append(w)
                parts.setdefault(term.negative, []).append(-w)
        sums = {branch: math.fsum(values) for branch, values in parts.items()}
        return {branch: 0.0 if abs(value) < _ROUNDING else value for branch, value in sums.items()}

    def needed(self, times: Iterable[float], *, drop_base: bool = False) -> tuple[Branch, ...]:
        """The branches that take part at one of these t / T, one of each sample: the others need not be evaluated."""
        found = set(self._always) | ({self.rest or self.base} if self.channels is not None else set())
        if drop_base and self.final is not None:  # what changes the whole needs the whole
            found.add(self.base)
            drop_base = False
        for sample, t in enumerate(times):
            numbers = {} if self.combination else self.coefficients(t, sample, drop_base=drop_base)
            found |= {branch for branch, c in numbers.items() if c != 0}
            for term in self.terms:
                if (self.combination or not term.is_affine) and term.weight_at(t, sample) != 0:
                    found |= set(term.branches)
            if self.combination and not drop_base:
                found.add(self.base)
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

    def pushes(self, eps: Mapping[Branch, Latents], times: Sequence[float]) -> dict[str, Latents]:
        """w_i(t) T_i(eps_pos_i - eps_neg_i) of every term that is on at one of these t / T, for people and measures.

        By the names of its branches, ``text - null``; a second term of the same ones is ``text - null (2)``. Terms of
        branches that were not asked, such as the base under one weight of 1, are left out.
        """
        if self.adjustment is not None:
            eps = self.adjustment(eps)
        told = [term for term in self._on(times) if all(branch in eps for branch in term.branches)]
        if self.combination is None:
            parts = [term.difference(eps, term.weights_at(times)) for term in told]
            pushes = [weight * delta for weight, delta in parts]
        else:
            pushes = self._combined(self.combination, eps, times)
        found: dict[str, Latents] = {}
        for term, push in zip(told, pushes, strict=True):
            name = f"{term.positive.name} - {term.negative.name}"
            again = sum(other.partition(" (")[0] == name for other in found)
            found[f"{name} ({again + 1})" if again else name] = push
        return found

    def _on(self, times: Sequence[float]) -> list[Term]:
        """The terms that are on at one of these t / T."""
        return [term for term in self.terms if any(term.weights_at(times))]

    def _combined(
        self, combination: Combination, eps: Mapping[Branch, Tensor], times: Sequence[float]
    ) -> list[Tensor]:
        """What each term that is on pushes beside the others."""
        parts = [term.difference(eps, term.weights_at(times)) for term in self._on(times)]
        return combination([delta for _, delta in parts], [weight for weight, _ in parts]) if parts else []

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
        if self.combination is not None:
            start = torch.zeros_like(next(iter(eps.values()))) if drop_base else eps[self.base]
            return sum(self._combined(self.combination, eps, times), start=start)
        rows = [self.coefficients(t, sample, drop_base=drop_base) for sample, t in enumerate(times)]
        total = torch.zeros_like(next(iter(eps.values())))
        for branch in rows[0]:
            scales = [row[branch] for row in rows]
            if any(scales):
                total = total + per_sample(scales, total) * eps[branch]
        for term in self.terms:
            if not term.is_affine and any(scales := term.weights_at(times)):
                weight, delta = term.difference(eps, scales)
                total = total + weight * delta
        return total
