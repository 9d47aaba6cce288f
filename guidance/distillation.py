"""Score distillation: how a picture should change to look more probable to the guided denoiser.

    grad = w(t) score,   x_t = a z + s eps

with one of these scores (``SCORES``), eps_hat = eps_base + sum_i w_i T_i(eps_pos_i - eps_neg_i):

    sds     eps_hat - eps                      DreamFusion, arxiv.org/abs/2209.14988
    csd     eps_hat - eps_base                 classifier score distillation, arxiv.org/abs/2310.19415
    nfsd    eps_hat, at t / T >= 0.2 less eps_base      noise-free score distillation, arxiv.org/abs/2310.17590
    vsd     eps_hat - eps_phi                 variational score distillation, arxiv.org/abs/2305.16213

phi is a model of the object's own renders (``variational``).

Noise-free distillation leaves the noise out and cleans up what the base says of its own: little is wrong with it at low
noise, and above that ``recipes.noise_free`` puts its difference to a branch of ugly things in its place.
eps_hat comes from the same callable as in ``sampling``; there is no guidance arithmetic here, and no gradient passes
through the denoiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from .schedules import Schedule
from .shapes import Answered, Latents, Scalar, Timesteps

WEIGHTINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigma": lambda alpha_bar: (1 - alpha_bar).sqrt(),
    "one_minus_alpha_bar": lambda alpha_bar: 1 - alpha_bar,
    "uniform": torch.ones_like,
    "rectified_flow": lambda alpha_bar: 1 + (1 / alpha_bar - 1).sqrt(),
}
"""w(t) as a function of alpha_bar_t; threestudio and DreamFusion use ``one_minus_alpha_bar``.

``rectified_flow`` is (a + s) / a, on a straight path 1 / (1 - s). With it sds is v_hat - (eps - x0), the score of
rectified flow distillation sampling (RFDS, arxiv.org/abs/2406.03293): eps_hat - eps = (1 - s) (v_hat - (eps - x0)).
"""


LITTLE_NOISE = 0.2
"""t / T below which noise-free distillation takes the base as it is (arxiv.org/abs/2310.17590, section 4)."""


class DistillableNoise(Protocol):
    """What distillation asks of a denoiser; ``GuidedNoise`` is one."""

    @property
    def schedule(self) -> Schedule: ...

    def __call__(self, x_t: Latents, t: Timesteps) -> Answered: ...

    def delta(self, x_t: Latents, t: Timesteps) -> Answered: ...


def _noise_free(noise_fn: DistillableNoise, x_t: Latents, t: Timesteps, noise: Latents) -> Latents:
    little = (t / len(noise_fn.schedule) < LITTLE_NOISE).view(-1, 1, 1, 1)
    if bool(little.all()):
        return noise_fn(x_t, t)
    delta = noise_fn.delta(x_t, t)
    return torch.where(little, noise_fn(x_t, t), delta) if bool(little.any()) else delta


Score = Callable[[DistillableNoise, Latents, Timesteps, Latents], Latents]
"""(denoiser, x_t [B, C, h, w], t [B], what it is compared with) -> direction [B, C, h, w].

That is the noise in it; for vsd eps_phi.
"""
Own = Callable[[Latents, Timesteps], Latents]
"""(x_t [B, C, h, w], t [B]) -> eps_phi [B, C, h, w], of a model of the object's own renders."""

SCORES: dict[str, Score] = {
    "sds": lambda noise_fn, x_t, t, noise: noise_fn(x_t, t) - noise,
    "csd": lambda noise_fn, x_t, t, noise: noise_fn.delta(x_t, t),
    "nfsd": _noise_free,
    "vsd": lambda noise_fn, x_t, t, own: noise_fn(x_t, t) - own,
}


@torch.no_grad()
def sds_gradient(
    noise_fn: DistillableNoise,
    latents: Latents,
    t: Timesteps,
    noise: Latents,
    *,
    weighting: str = "sigma",
    score: str = "sds",
    clamp: float | None = None,
    own: Own | None = None,
) -> Latents:
    """The gradient of score distillation with respect to the latents.

    Args:
        noise_fn: the guided denoiser.
        latents: clean latents z [B, C, h, w], scaled as the network saw them in training.
        t: one timestep per sample [B], integers in [0, T), on any device.
        noise: unit normal eps [B, C, h, w], on any device: drawn on the CPU it is the same everywhere.
        weighting: a key of ``WEIGHTINGS``.
        score: a key of ``SCORES``.
        clamp: cut every entry to [-clamp, clamp]; rare large entries otherwise tear holes in a field.
        own: the model of the object's renders, which vsd takes and the others do not.
    Returns:
        Gradient [B, C, h, w]; not differentiable.
    Raises:
        ValueError: unknown weighting or score, clamp is not positive, or vsd without a model of the renders.
    """
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting is one of {sorted(WEIGHTINGS)}, not {weighting!r}.")
    if score not in SCORES:
        raise ValueError(f"score is one of {sorted(SCORES)}, not {score!r}.")
    if (score == "vsd") != (own is not None):
        raise ValueError(f"vsd, and no other score, takes a model of the renders; {score} was given {own}.")
    if clamp is not None and not clamp > 0:
        raise ValueError(f"clamp must be positive, not {clamp}.")
    schedule = noise_fn.schedule
    t, noise = t.to(latents.device), noise.to(latents.device)
    x_t = schedule.add_noise(latents, noise, t)
    direction = SCORES[score](noise_fn, x_t, t, noise if own is None else own(x_t, t))
    w = WEIGHTINGS[weighting](schedule.alpha_bar(t)).to(latents.dtype)
    grad = w.view(-1, 1, 1, 1) * direction
    return grad if clamp is None else grad.clamp(-clamp, clamp)


def sds_loss(
    noise_fn: DistillableNoise,
    latents: Latents,
    t: Timesteps,
    noise: Latents,
    *,
    weighting: str = "sigma",
    score: str = "sds",
    clamp: float | None = None,
    own: Own | None = None,
) -> Scalar:
    """0.5 || z - stopgrad(z - grad) ||^2: a scalar whose gradient with respect to z is ``sds_gradient``.

    Summed over the batch; its value is 0.5 || grad ||^2, which says little about progress.
    """
    grad = sds_gradient(noise_fn, latents, t, noise, weighting=weighting, score=score, clamp=clamp, own=own)
    return 0.5 * (latents - (latents - grad).detach()).square().sum()


def annealed_range(
    progress: float, *, low: tuple[float, float] = (0.02, 0.02), high: tuple[float, float] = (0.98, 0.5)
) -> tuple[float, float]:
    """The range of t / T to draw from at ``progress`` in [0, 1] of the run; each end moves from first to last.

    Much noise first, for layout; less later, for detail. First and last are met exactly.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress lies in [0, 1], not {progress}.")
    for t_low, t_high in zip(low, high, strict=True):
        if not 0 <= t_low <= t_high <= 1:
            raise ValueError(
                f"The range of t/T must satisfy 0 <= low <= high <= 1, not {t_low} and {t_high}."
            )
    t_low, t_high = _between(*low, progress), _between(*high, progress)
    return t_low, max(t_low, t_high)  # where both ends meet, rounding may part them the wrong way


def _sqrt_annealed(
    progress: float, low: tuple[float, float], high: tuple[float, float]
) -> tuple[float, float]:
    first, last = high[0], low[0]
    t = _between(first, last, math.sqrt(progress))
    return t, t


TIMES: dict[str, Callable[[float, tuple[float, float], tuple[float, float]], tuple[float, float]]] = {
    "random": lambda progress, low, high: annealed_range(progress, low=low, high=high),
    "sqrt": _sqrt_annealed,
}
"""(progress, low, high) -> the range of t / T to draw from; low and high as in ``annealed_range``.

``sqrt`` is HiFA's (arxiv.org/abs/2305.18766): one t for all, high - (high - low) sqrt(progress), first ends of both.
"""


def _between(first: float, last: float, share: float) -> float:
    """Linear, without rounding at either end (as torch.lerp): a + (b - a) need not be b."""
    move = last - first
    return first + share * move if share < 0.5 else last - (1 - share) * move


def draw_timesteps(
    count: int, t_range: tuple[float, float], schedule: Schedule, generator: torch.Generator
) -> Timesteps:
    """``count`` timesteps [count], uniform in a range of t / T, on the generator's device."""
    last = len(schedule) - 1
    low, high = (min(round(end * len(schedule)), last) for end in t_range)
    return torch.randint(low, high + 1, (count,), generator=generator, device=generator.device)
