"""What the guidance formula may do beyond an affine sum, as small objects that know which branches they read.

    Transform     of one term's difference, before it is weighted          Perp-Neg, APG, frequency bands
    Adaptive      a term's weight computed from the data                   magnitude-aware guidance
    Adjustment    of what the branches say, before anything is added up    CFG-Zero*
    Final         of the finished prediction                               rescale, norm cap

All are pure functions of tensors, sample by sample: the same ones work in 2-D sampling and in score distillation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from .shapes import Latents

if TYPE_CHECKING:
    from .algebra import Branch

Answers = Mapping["Branch", Tensor]
"""What each branch says, [B, C, h, w]."""


class _Reads(Protocol):
    @property
    def branches(self) -> tuple[Branch, ...]:
        """The branches whose eps it reads."""
        ...


class Transform(_Reads, Protocol):
    """What a term may do to its difference before it is weighted."""

    def __call__(self, delta: Latents, eps: Answers) -> Latents:
        """delta [B, C, h, w] -> transformed delta [B, C, h, w]."""
        ...


class Adaptive(_Reads, Protocol):
    """A weight that depends on what the branches say."""

    def __call__(self, weight: Tensor, delta: Latents, eps: Answers) -> Tensor:
        """The term's weight [B, 1, 1, 1] and its difference [B, C, h, w] -> the weight to use [B, 1, 1, 1]."""
        ...


class Adjustment(_Reads, Protocol):
    """A change of single branches that all terms and the base then see."""

    def __call__(self, eps: Answers) -> Answers:
        """All answers -> all answers, some of them replaced."""
        ...


class Final(_Reads, Protocol):
    """A change of the finished prediction; of eps, or with ``of_answers`` of what the base's network itself answers."""

    @property
    def of_answers(self) -> bool: ...

    def __call__(self, eps_hat: Latents, eps: Answers) -> Latents:
        """eps_hat [B, C, h, w] -> eps_hat [B, C, h, w]."""
        ...


@dataclass(frozen=True)
class PerpendicularTo:
    """Keep only the part of a difference that is orthogonal to another one, sample by sample.

    Perp-Neg (arxiv.org/abs/2304.04968): a negative prompt must not undo what the positive prompt asks for.
    """

    positive: Branch
    negative: Branch

    @property
    def branches(self) -> tuple[Branch, ...]:
        return (self.positive, self.negative)

    def __call__(self, delta: Latents, eps: Answers) -> Latents:
        return delta - along(delta, eps[self.positive] - eps[self.negative])


@dataclass(frozen=True)
class Projected:
    """Adaptive projected guidance (APG, arxiv.org/abs/2410.02416), without its momentum.

    The difference is shortened to ``norm_cap`` (0 caps nothing), and its part parallel to the branch ``onto``, which
    saturates colours, is weighted by ``eta``.
    """

    onto: Branch
    eta: float = 0.0
    norm_cap: float = 0.0

    @property
    def branches(self) -> tuple[Branch, ...]:
        return (self.onto,)

    def __call__(self, delta: Latents, eps: Answers) -> Latents:
        if self.norm_cap:
            delta = delta * (self.norm_cap / norm(delta)).clamp_max(1)
        parallel = along(delta, eps[self.onto])
        return delta - (1 - self.eta) * parallel


@dataclass(frozen=True)
class Band:
    """The low or the high frequencies of a difference, which add up to the whole (frequency-decoupled guidance).

    arxiv.org/abs/2506.19713 splits by a Laplacian pyramid; this is its coarsest split, low = up(down(delta)) with
    down the mean of 2 x 2 and up bilinear, so that shape (low) and detail (high) may have weights of their own.
    """

    low: bool

    @property
    def branches(self) -> tuple[Branch, ...]:
        return ()

    def __call__(self, delta: Latents, eps: Answers) -> Latents:
        coarse = F.avg_pool2d(delta, 2, ceil_mode=True, count_include_pad=False)
        low = F.interpolate(coarse, delta.shape[-2:], mode="bilinear", align_corners=False)
        return low if self.low else delta - low


@dataclass(frozen=True)
class MagnitudeAware:
    """Weights that shrink where the difference is long (MAMBO-G; diffusers' ``MagnitudeAwareGuidance``).

    w' = 1 + (w - 1) exp(-alpha |delta| / |eps_base|)
    """

    base: Branch
    alpha: float = 8.0

    @property
    def branches(self) -> tuple[Branch, ...]:
        return (self.base,)

    def __call__(self, weight: Tensor, delta: Latents, eps: Answers) -> Tensor:
        return 1 + (weight - 1) * torch.exp(-self.alpha * norm(delta) / norm(eps[self.base]))


@dataclass(frozen=True)
class ZeroStar:
    """CFG-Zero* (arxiv.org/abs/2503.18886): the unconditional answer, scaled to explain the conditional one best.

    eps(0) <- (<eps(c), eps(0)> / |eps(0)|^2) eps(0)
    """

    unconditional: Branch
    conditional: Branch

    @property
    def branches(self) -> tuple[Branch, ...]:
        return (self.unconditional, self.conditional)

    def __call__(self, eps: Answers) -> Answers:
        fitted = along(eps[self.conditional], eps[self.unconditional])
        return {**eps, self.unconditional: fitted}


@dataclass(frozen=True)
class Rescaled:
    """The prediction with the contrast of one branch (arxiv.org/abs/2305.08891, section 3.4).

    phi eps_hat std(eps_like) / std(eps_hat) + (1 - phi) eps_hat; phi is diffusers' ``guidance_rescale``. Of v where the
    network answers v, as in the paper: near pure noise a factor on eps would change x0 without bound.
    """

    like: Branch
    phi: float = 0.7
    of_answers = True

    @property
    def branches(self) -> tuple[Branch, ...]:
        return (self.like,)

    def __call__(self, eps_hat: Latents, eps: Answers) -> Latents:
        every = tuple(range(1, eps_hat.ndim))
        factor = eps[self.like].std(every, keepdim=True) / eps_hat.std(every, keepdim=True)
        return eps_hat * (self.phi * factor + (1 - self.phi))


@dataclass(frozen=True)
class NormCapped:
    """The prediction, never longer than ``ratio`` times what one branch says."""

    like: Branch
    ratio: float = 1.0
    of_answers = False

    @property
    def branches(self) -> tuple[Branch, ...]:
        return (self.like,)

    def __call__(self, eps_hat: Latents, eps: Answers) -> Latents:
        return eps_hat * (self.ratio * norm(eps[self.like]) / norm(eps_hat)).clamp_max(1)


def along(vector: Tensor, direction: Tensor) -> Tensor:
    """The part of [B, ...] vectors along others, sample by sample; nothing where there is no direction."""
    v, d = vector.flatten(1), direction.flatten(1)
    # Clamped: the squared length of a zero direction must not divide.
    length2 = d.square().sum(1).clamp_min(torch.finfo(vector.dtype).tiny)
    return (((v * d).sum(1) / length2)[:, None] * d).view_as(vector)


def norm(vector: Tensor) -> Tensor:
    """Length of each sample, [B, 1, 1, 1], never 0."""
    lengths = vector.flatten(1).norm(dim=1).clamp_min(torch.finfo(vector.dtype).tiny)
    return lengths.view(-1, *(1,) * (vector.ndim - 1))
