"""How the terms of one guidance are put together where a plain sum is not wanted: they may pull against each other.

    sum        sum_i w_i d_i                                    d_i = T_i(eps_pos_i - eps_neg_i)
    balance    sum_i w_i (N / |d_i|) d_i,  N = mean_i |d_i|     lengths are the weights' alone
    project    sum_i p_i,  p_i = w_i d_i less what opposes      gradient surgery (PCGrad, arxiv.org/abs/2001.06782)
    alternate  w_k d_k,  k = turn modulo the number of terms    one after the other, ``alternated``

``sum`` is ``Guidance`` without a combination. With one term all are the same. Lengths and angles are each sample's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .algebra import Guidance
from .shapes import Latents
from .transforms import along, norm

_ROUNDING = 1e-4  # of the longest difference: float32 networks differ by less between two runs of one text
Combination = Callable[[Sequence[Latents], Sequence[Tensor]], list[Tensor]]
"""Differences d_i [B, C, h, w] and weights w_i [B, 1, 1, 1] of the terms that are on -> what each pushes."""


def balanced(deltas: Sequence[Latents], weights: Sequence[Tensor]) -> list[Tensor]:
    """Every difference as long as they are in the mean, so that a term pushes by its weight, whatever its length.

    A term of weight 0 at a sample does not count there, and neither does a difference of nothing but rounding, such as
    of a text and itself: it pushes nothing.
    """
    lengths = torch.stack([norm(delta) for delta in deltas])
    on = torch.stack([(weight != 0).expand_as(lengths[0]) for weight in weights])
    on = on & (lengths > _ROUNDING * (lengths * on).amax(0))
    mean = (lengths * on).sum(0) / on.sum(0).clamp_min(1)
    factors = torch.where(on, mean / lengths, 0.0)
    return [weight * factor * delta for weight, factor, delta in zip(weights, factors, deltas, strict=True)]


def unopposed(deltas: Sequence[Latents], weights: Sequence[Tensor]) -> list[Tensor]:
    """Each push without the part that opposes another: where <p_i, p_j> < 0, what of p_i lies along p_j is taken away.

    The others are taken in their order, as they were before (PCGrad draws the order; here a seed means one result). Two
    projected pushes never oppose each other; among three or more a later projection may bring back a part.
    """
    pushes = [weight * delta for weight, delta in zip(weights, deltas, strict=True)]
    return [_unopposed(push, [other for other in pushes if other is not push]) for push in pushes]


COMBINATIONS: dict[str, Combination] = {"balance": balanced, "project": unopposed}


def alternated(guidance: Guidance, turn: int) -> Guidance:
    """The same with one of its terms alone, each in its turn; the others are not even evaluated.

    A term that is off at this step's noise or views has its turn all the same, and the base speaks alone then.
    """
    if not guidance.terms:
        return guidance
    return replace(guidance, terms=[guidance.terms[turn % len(guidance.terms)]])


def _unopposed(push: Tensor, others: Sequence[Tensor]) -> Tensor:
    for other in others:
        opposes = (push * other).flatten(1).sum(1) < 0
        push = torch.where(opposes.view(-1, 1, 1, 1), push - along(push, other), push)
    return push
