"""The exact denoiser of a Gaussian mixture: guidance where every score is known, and the toy of domain guidance.

    p(x0) = sum_k pi_k N(x0; m_k, v I)     under noise     p_t(x_t) = sum_k pi_k N(x_t; a m_k, (a^2 v + s^2) I)

with a and s as in ``schedules``. Given its mode, the data are Gaussian; as the mode is not given, the best guess
of the noise is that of a Gaussian whose mean is the expected one, sum_k p(k | x_t) m_k.

A class, or a domain, is the same modes under other weights pi: a condition is a row of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .algebra import Branch
from .conditioning import Condition
from .predictors import GaussianPredictor
from .schedules import Schedule
from .shapes import Answered, Latents, Timesteps


@dataclass
class MixturePredictor:
    """The exact denoiser of modes ``means`` [K, C, h, w] that are equally wide, for tests, examples and plots.

    A condition is the weights of the modes, [1, K] or [B, K], at least 0; they need not sum to 1. None means that
    all modes weigh the same.
    """

    means: Float[Tensor, "mode channel height width"]
    variance: float
    schedule: Schedule
    latent_space: str = "mixture"
    name: str = "mixture"

    def predict(self, x_t: Latents, t: Timesteps, conditions: Sequence[Condition]) -> list[Answered]:
        """See ``NoisePredictor``.

        Raises:
            ValueError: a condition is not the weights of the modes.
        """
        gaussian = GaussianPredictor(0.0, self.variance, self.schedule)
        means = self.means.to(x_t)
        probabilities = [self.mode_probabilities(x_t, t, weights) for weights in conditions]
        return gaussian.predict(x_t, t, [torch.einsum("bk,kchw->bchw", p, means) for p in probabilities])

    def mode_probabilities(
        self, x_t: Latents, t: Timesteps, weights: Condition = None
    ) -> Float[Tensor, "batch mode"]:
        """p(k | x_t) [B, K]: which mode a noisy point comes from."""
        return self._log_joint(x_t, t, weights).softmax(1)

    def log_density(self, x_t: Latents, t: Timesteps, weights: Condition = None) -> Float[Tensor, " batch"]:
        """log p_t(x_t) [B]; its gradient is the score, -eps / s."""
        return self._log_joint(x_t, t, weights).logsumexp(1)

    def _log_joint(self, x_t: Tensor, t: Tensor, weights: Condition) -> Tensor:
        """log pi_k N(x_t; a m_k, (a^2 v + s^2) I), [B, K]."""
        a, s = (factor.flatten(1) for factor in self.schedule.signal_and_noise(t, x_t))
        variance = a.square() * self.variance + s.square()
        away = x_t.flatten(1)[:, None] - a[..., None] * self.means.to(x_t).flatten(1)  # [B, K, C h w]
        log_normal = -0.5 * (
            away.square().sum(2) / variance + away.shape[2] * (2 * torch.pi * variance).log()
        )
        return self._log_weights(weights).to(x_t) + log_normal

    def _log_weights(self, weights: Condition) -> Tensor:
        """log pi, [1, K] or [B, K]."""
        count = len(self.means)
        if weights is None:
            return torch.full((1, count), 1 / count, dtype=torch.float64).log()
        if not isinstance(weights, Tensor) or weights.ndim != 2 or weights.shape[1] != count:
            shape = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
            raise ValueError(f"A condition of {self.name!r} is weights [1 or B, {count}], not {shape}.")
        if not bool((weights >= 0).all() and (weights.sum(1) > 0).all()):
            raise ValueError(f"Weights of the modes of {self.name!r} are at least 0, and not all of them 0.")
        return (weights.double() / weights.sum(1, keepdim=True)).log()


SD = 0.15
"""Width of the toy's modes, per axis."""

CLASS_A = ((1.0, 1.0), (2.0, 2.0), (1.0, 0.0))
CLASS_B = ((2.0, 0.0), (1.0, 2.0), (2.0, 1.0))
OUTSIDE = 3 * SD
"""A point this far from every mode of class A counts as out of the domain: exp(-9/2), 1.1 %, of true points do."""


@dataclass(frozen=True)
class DomainToy:
    """The branches of the toy: the pre-trained prior; the fine-tuned model under class A, and under no class."""

    pretrained: Branch
    conditional: Branch
    null: Branch


def domain_toy(
    schedule: Schedule,
    *,
    conditional_sd: float = SD,
    null_sd: float = SD,
    pretrained_sd: float = 0.35,
    centre: float = 0.0,
) -> DomainToy:
    """A plane to see domain guidance on (arxiv.org/abs/2504.01521 draws one like it; these numbers are our own).

    The prior saw a 7 x 7 grid of wide modes, spaced by 1; the domain is six sharp modes of it, three to a class. A
    network learns its branches a little wrongly: too wide, if it fits too little, or too sharp, if too much.

    Args:
        conditional_sd: the width that the model has learned for class A; ``SD`` is right.
        null_sd: the same for the domain without a class.
        pretrained_sd: width of the prior's modes.
        centre: where the grid of the prior has its middle, on both axes.
    """
    axis = torch.arange(-3, 4, dtype=torch.float64) + centre
    modes = torch.tensor([*CLASS_A, *CLASS_B], dtype=torch.float64)
    class_a = torch.tensor([[1.0] * len(CLASS_A) + [0.0] * len(CLASS_B)])

    def mixture(name: str, means: Tensor, sd: float) -> MixturePredictor:
        return MixturePredictor(means[..., None, None], sd**2, schedule, latent_space="plane", name=name)

    return DomainToy(
        Branch("pretrained", mixture("pretrained", torch.cartesian_prod(axis, axis), pretrained_sd)),
        Branch("conditional", mixture("conditional", modes, conditional_sd), class_a),
        Branch("null", mixture("null", modes, null_sd)),
    )


@dataclass(frozen=True)
class ToyFigures:
    """What became of samples of class A: share out of the domain, share at each mode, median distance from it.

    True samples: 0.011, (1/3, 1/3, 1/3), and 1.18 SD = 0.18.
    """

    outside: float
    modes: tuple[float, ...]
    distance: float


def nearest_mode(
    points: Float[Tensor, "batch 2 1 1"],
) -> tuple[Float[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Distance [B] of points [B, 2, 1, 1] from the nearest mode of class A, and which one it is [B]."""
    modes = torch.tensor(CLASS_A, dtype=points.dtype, device=points.device)
    distance, index = torch.cdist(points.flatten(1), modes).min(1)
    return distance, index


def toy_figures(points: Float[Tensor, "batch 2 1 1"]) -> ToyFigures:
    """The figures of samples [B, 2, 1, 1]."""
    distance, index = nearest_mode(points)
    shares = torch.bincount(index, minlength=len(CLASS_A)) / len(points)
    outside = (distance > OUTSIDE).double().mean().item()
    return ToyFigures(outside, tuple(shares.tolist()), distance.median().item())
