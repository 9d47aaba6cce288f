"""How much noise there is at timestep t, and the four ways in which a network may speak of it.

Notation, as in DDPM (arxiv.org/abs/2006.11239), for t = 0 .. T - 1:

    x_t = a x0 + s eps,   a = sqrt(alpha_bar_t),   s = sqrt(1 - alpha_bar_t)      (variance preserving)

    epsilon          eps
    sample           x0
    v_prediction     v = a eps - s x0           (progressive distillation, arxiv.org/abs/2202.00512)
    flow_prediction  u = eps - x0               (rectified flow; same noise level, other scaling of x_t)

Everything downstream of a predictor speaks eps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from ..configs.errors import BadInput
from ..configs.names import unknown_name
from .shapes import Samples, Timesteps


class Schedule(Protocol):
    """x_t = a x0 + s eps at every training timestep, whatever a and s are, and the conversions that follow from them.

    Of a schedule's own are the first five; ``NoiseSchedule`` is variance preserving, and ``StraightPath`` has a = 1 - s
    (rectified flow). ``t`` is [B], in [0, T).
    """

    def __len__(self) -> int:
        """T, the number of training timesteps."""
        ...

    def matches(self, other: Schedule) -> bool:
        """Whether both make the same x_t at every timestep."""
        ...

    def alpha_bar(self, t: Timesteps) -> Tensor:
        """a^2 / (a^2 + s^2) at t, same shape as t: how much of x_t is signal."""
        ...

    def signal_and_noise(self, t: Timesteps, like: Tensor) -> tuple[Tensor, Tensor]:
        """a and s at t, shaped [B, 1, ...] to multiply ``like`` [B, ...], in its dtype."""
        ...

    def nearest_timestep(self, alpha_bar: Tensor) -> Tensor:
        """The timestep [B] whose ``alpha_bar`` is nearest to those given [B]."""
        ...

    def add_noise(self, x0: Samples, noise: Samples, t: Timesteps) -> Samples:
        """x_t = a x0 + s eps."""
        a, s = self.signal_and_noise(t, x0)
        return a * x0 + s * noise

    def x0_from_eps(self, x_t: Samples, eps: Samples, t: Timesteps) -> Samples:
        """x0 = (x_t - s eps) / a."""
        a, s = self.signal_and_noise(t, x_t)
        return (x_t - s * eps) / a

    def eps_from_x0(self, x_t: Samples, x0: Samples, t: Timesteps) -> Samples:
        """eps = (x_t - a x0) / s."""
        a, s = self.signal_and_noise(t, x_t)
        return (x_t - a * x0) / s

    def v_from_eps(self, x_t: Samples, eps: Samples, t: Timesteps) -> Samples:
        """v = (eps - s x_t) / a, which is a eps - s x0; of variance-preserving schedules."""
        a, s = self.signal_and_noise(t, x_t)
        return (eps - s * x_t) / a

    def eps_from_v(self, x_t: Samples, v: Samples, t: Timesteps) -> Samples:
        """eps = a v + s x_t; of variance-preserving schedules."""
        a, s = self.signal_and_noise(t, x_t)
        return a * v + s * x_t

    def flow_from_eps(self, x_t: Samples, eps: Samples, t: Timesteps) -> Samples:
        """u = eps - x0 = ((a + s) eps - x_t) / a."""
        a, s = self.signal_and_noise(t, x_t)
        return ((a + s) * eps - x_t) / a

    def eps_from_flow(self, x_t: Samples, u: Samples, t: Timesteps) -> Samples:
        """eps = (x_t + a u) / (a + s)."""
        a, s = self.signal_and_noise(t, x_t)
        return (x_t + a * u) / (a + s)

    def flow_coordinates(self, x_t: Samples, t: Timesteps) -> tuple[Samples, Timesteps]:
        """The point of the straight path x = (1 - r) x0 + r eps with the same signal-to-noise ratio.

        Returns:
            x = x_t / (a + s) and r T [B], the timestep a flow network with T training steps is told.
        """
        a, s = self.signal_and_noise(t, x_t)
        return x_t / (a + s), (s / (a + s)).flatten() * len(self)


_PURE_NOISE = 1e-12
"""alpha_bar in the place of 0 where a schedule ends in pure noise (zero terminal SNR, arxiv.org/abs/2305.08891).

At 0 eps has forgotten x0; so it still holds it, a millionth of its size, which float64 reads to ten digits.
"""


class NoiseSchedule(Schedule):
    """alpha_bar of every training timestep: variance preserving, a^2 + s^2 = 1.

    ``t`` is [B], integer timesteps in [0, T). Fractional timesteps (some samplers use them) are read between
    the two neighbours, linear in s / a as diffusers' samplers do it. Results keep the dtype of the tensors
    given; a and s are float32, as in diffusers, so that both sides round alike.

    Args:
        alphas_cumprod: [T], strictly between 0 and 1, never increasing.
    Raises:
        ValueError: alphas_cumprod is not such a list.
    """

    def __init__(self, alphas_cumprod: Tensor) -> None:
        table = torch.as_tensor(alphas_cumprod, dtype=torch.float32).detach()
        if table.ndim != 1 or table.numel() == 0:
            raise ValueError(f"alphas_cumprod is a list [T], not of shape {tuple(table.shape)}.")
        if not bool(((table > 0) & (table < 1)).all()):
            raise ValueError("alphas_cumprod must lie strictly between 0 (pure noise) and 1 (no noise).")
        if bool((table.diff() > 0).any()):
            raise ValueError("alphas_cumprod must not increase: noise grows with the timestep.")
        self.alphas_cumprod = table

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def __repr__(self) -> str:
        first, last = self.alphas_cumprod[0].item(), self.alphas_cumprod[-1].item()
        return f"{len(self)} timesteps, alpha_bar {first:.4g} to {last:.4g}"

    @property
    def ends_in_noise(self) -> bool:
        """Whether nothing is left of x0 at the last timestep."""
        return float(self.alphas_cumprod[-1]) <= 2 * _PURE_NOISE

    def matches(self, other: Schedule) -> bool:
        """Whether both add the same noise at every timestep."""
        if not isinstance(other, NoiseSchedule) or self.ends_in_noise != other.ends_in_noise:
            return False
        mine, theirs = self.alphas_cumprod.cpu(), other.alphas_cumprod.cpu()
        return len(mine) == len(theirs) and torch.allclose(mine, theirs, rtol=1e-4, atol=1e-7)

    def alpha_bar(self, t: Timesteps) -> Timesteps:
        """alpha_bar at t, same shape as t."""
        if self.alphas_cumprod.device != t.device:
            self.alphas_cumprod = self.alphas_cumprod.to(t.device)
        if not t.is_floating_point():
            return self.alphas_cumprod[t]
        below, above = t.floor().long(), t.ceil().long().clamp_max(len(self) - 1)
        ratio = (1 / self.alphas_cumprod - 1).sqrt()
        between = torch.lerp(ratio[below], ratio[above], (t - below).float())
        return torch.where(below == t, self.alphas_cumprod[below], 1 / (1 + between.square()))

    def signal_and_noise(self, t: Timesteps, like: Float[Tensor, "..."]) -> tuple[Tensor, Tensor]:
        """a and s at t, shaped [B, 1, ...] to multiply ``like`` [B, ...], in its dtype."""
        alpha_bar = self.alpha_bar(t.to(like.device)).view(-1, *[1] * (like.ndim - 1))
        return alpha_bar.sqrt().to(like.dtype), (1 - alpha_bar).sqrt().to(like.dtype)

    def nearest_timestep(self, alpha_bar: Timesteps) -> Timesteps:
        """The timestep [B] whose noise variance is nearest to that of ``alpha_bar`` [B]."""
        table = self.alphas_cumprod.to(alpha_bar.device)
        return (table[None] - alpha_bar[:, None]).abs().argmin(1)


class StraightPath(Schedule):
    """x_t = (1 - s) x0 + s eps, s = (t + 1) / T: the path of flow models (rectified flow, arxiv.org/abs/2209.03003).

    ``t`` is what diffusers' flow schedulers call 1000 s, less one, so that it lies in [0, T) as everywhere; the network
    is told 1000 s. Nothing of a sampler's shift of the noise levels is in it: that says which levels are visited. At
    t = T - 1 there is nothing but noise, where eps says nothing of x0; so a millionth of x0 is left (``_PURE_NOISE``).

    Args:
        steps: T.
    """

    ends_in_noise = True

    def __init__(self, steps: int = 1000) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def __repr__(self) -> str:
        return f"a straight path of {len(self)} timesteps"

    def matches(self, other: Schedule) -> bool:
        """Whether both are straight, with the same number of timesteps."""
        return isinstance(other, StraightPath) and len(self) == len(other)

    def _noise(self, t: Timesteps) -> Tensor:
        """s [B], in float64 where the device has it."""
        exact = t.to(torch.float32 if t.device.type == "mps" else torch.float64)
        return ((exact + 1) / len(self)).clamp_max(1 - _PURE_NOISE**0.5)

    def alpha_bar(self, t: Timesteps) -> Tensor:
        """(1 - s)^2 / ((1 - s)^2 + s^2) at t, same shape as t."""
        s = self._noise(t)
        return (1 - s).square() / ((1 - s).square() + s.square())

    def signal_and_noise(self, t: Timesteps, like: Float[Tensor, "..."]) -> tuple[Tensor, Tensor]:
        """1 - s and s at t, shaped [B, 1, ...] to multiply ``like`` [B, ...], in its dtype."""
        s = self._noise(t.to(like.device)).view(-1, *[1] * (like.ndim - 1))
        return (1 - s).to(like.dtype), s.to(like.dtype)

    def nearest_timestep(self, alpha_bar: Tensor) -> Tensor:
        """The timestep [B] whose ``alpha_bar`` is nearest to those given [B]: s = 1 / (1 + sqrt(alpha_bar / rest))."""
        s = 1 / (1 + (alpha_bar / (1 - alpha_bar)).sqrt())
        return (s * len(self) - 1).round().long().clamp(0, len(self) - 1)

    def flow_coordinates(self, x_t: Samples, t: Timesteps) -> tuple[Samples, Timesteps]:
        """x_t itself, which lies on the path, and t + 1, to the last digit: networks hear a timestep's thousandths."""
        return x_t, t + 1


class Parameterisation(NamedTuple):
    """What a network is shown of (x_t, t), how its answer becomes eps, and what it should have answered.

    Attributes:
        to_eps: (schedule, x_t, answer, t) -> eps.
        from_eps: (schedule, x_t, eps, t) -> the answer of a network that knows eps; its inverse.
        shown: (schedule, x_t, t) -> the latents and timesteps that the network itself is given.
    """

    to_eps: Callable[[Schedule, Tensor, Tensor, Tensor], Tensor]
    from_eps: Callable[[Schedule, Tensor, Tensor, Tensor], Tensor]
    shown: Callable[[Schedule, Tensor, Tensor], tuple[Tensor, Tensor]] = lambda schedule, x_t, t: (
        x_t,
        t,
    )


PARAMETERISATIONS = {
    "epsilon": Parameterisation(lambda schedule, x_t, eps, t: eps, lambda schedule, x_t, eps, t: eps),
    "v_prediction": Parameterisation(Schedule.eps_from_v, Schedule.v_from_eps),
    "sample": Parameterisation(Schedule.eps_from_x0, Schedule.x0_from_eps),
    "flow_prediction": Parameterisation(
        Schedule.eps_from_flow,
        Schedule.flow_from_eps,
        lambda schedule, x_t, t: schedule.flow_coordinates(x_t, t),  # a straight path has its own
    ),
}
"""By diffusers' names for what a network predicts; sampling and training both read this table."""


def parameterisation_named(prediction_type: str) -> Parameterisation:
    """A line of ``PARAMETERISATIONS``. BadInput, with the names there are, for any other name."""
    if prediction_type not in PARAMETERISATIONS:
        raise unknown_name("prediction_type", str(prediction_type), PARAMETERISATIONS)
    return PARAMETERISATIONS[prediction_type]


def from_diffusers(scheduler: Any) -> NoiseSchedule | StraightPath:
    """The noise schedule of a diffusers scheduler: of its class FlowMatchEulerDiscreteScheduler a straight path.

    Raises:
        BadInput: the scheduler has none that can be used, or its last step is pure noise and its network predicts
            eps, which says nothing about x0 there.
    """
    table = getattr(scheduler, "alphas_cumprod", None)
    name = type(scheduler).__name__
    if name == "FlowMatchEulerDiscreteScheduler":
        return StraightPath(scheduler.config.num_train_timesteps)
    if table is None:
        raise BadInput(
            f"{name} has no alphas_cumprod; use a variance-preserving scheduler such as DDIMScheduler."
        )
    if float(table[-1]) == 0 and scheduler.config.get("prediction_type", "epsilon") == "epsilon":
        raise BadInput(
            f"{name} ends in pure noise (zero terminal SNR), where eps does not determine x0; "
            "load it with rescale_betas_zero_snr=False."
        )
    try:
        return NoiseSchedule(table.clamp_min(_PURE_NOISE))
    except ValueError as error:
        raise BadInput(f"the noise schedule of {name} cannot be used: {error}") from error
