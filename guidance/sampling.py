"""Pictures from noise: any variance-preserving diffusers scheduler, driven by a callable (x_t, t) -> eps_hat.

No guidance arithmetic here: the callable is a ``GuidedNoise``, or anything of its shape.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..configs.errors import BadInput
from .schedules import NoiseSchedule, from_diffusers

NoiseFunction = Callable[[Tensor, Tensor], Tensor]
"""(x_t [B, C, h, w], t [B]) -> eps [B, C, h, w]"""


@torch.no_grad()
def sample(
    noise_fn: NoiseFunction,
    scheduler: Any,
    latents: Tensor,
    *,
    steps: int,
    start: Tensor | None = None,
    strength: float = 1.0,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    callback: Callable[[int, int, Tensor], None] | None = None,
) -> Tensor:
    """Run a diffusers scheduler from noise to clean latents.

    The scheduler is copied and told that its model predicts eps. Everything runs in float64 where the
    device has it: near pure noise x0 = (x_t - s eps) / a is a difference of nearly equal numbers, and
    float32 would lose what a v-predicting network knows there.

    Args:
        noise_fn: (x_t, t) -> eps_hat. If it has a ``schedule``, the scheduler's must be the same.
        scheduler: DDIM, DPM-Solver++, UniPC, Euler, ...; left as it is.
        latents: unit normal noise [B, C, h, w].
        steps: sampling steps.
        start: clean latents to begin from (SDEdit, arxiv.org/abs/2108.01073), noised by ``latents``.
        strength: with ``start``, the part of the steps that is run; 1 forgets most of ``start``.
        eta: DDIM's randomness, ignored by schedulers without it.
        generator: for schedulers that add noise.
        callback: called after each step with (steps done, steps in all, latents).
    Returns:
        Clean latents [B, C, h, w] in the dtype of ``latents``.
    Raises:
        BadInput: the scheduler cannot be used or was made for another noise schedule.
        ValueError: steps or strength are out of range.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength is the part of the steps to run, above 0 and at most 1, not {strength}.")
    scheduler = _speaking_eps(scheduler, getattr(noise_fn, "schedule", None))
    if not 1 <= steps <= scheduler.config.num_train_timesteps:
        raise ValueError(f"steps lies between 1 and {scheduler.config.num_train_timesteps}, not {steps}.")
    scheduler.set_timesteps(steps, device=latents.device)
    first = 0 if start is None else _first_step(scheduler, steps, strength)
    timesteps = scheduler.timesteps[first:]

    noise = latents.to(torch.float32 if latents.device.type == "mps" else torch.float64)
    x = noise * scheduler.init_noise_sigma
    if start is not None:
        x = scheduler.add_noise(start.to(noise), noise, timesteps[:1].expand(len(noise)))

    options = _accepted(scheduler.step, eta=eta, generator=generator)
    for i, t in enumerate(timesteps):
        x_t = scheduler.scale_model_input(x, t)
        eps = noise_fn(x_t, t.expand(len(x_t)))
        x = scheduler.step(eps, t, x, return_dict=False, **options)[0]
        if callback is not None:
            callback(i + 1, len(timesteps), x)
    return x.to(latents.dtype)


def _speaking_eps(scheduler: Any, schedule: NoiseSchedule | None) -> Any:
    """A copy of the scheduler that reads the model's output as eps, on the schedule of the noise function."""
    if "prediction_type" not in scheduler.config:
        name = type(scheduler).__name__
        raise BadInput(
            f"{name} cannot read eps predictions; use DDIMScheduler, DPMSolverMultistepScheduler or so."
        )
    copied = type(scheduler).from_config(scheduler.config, prediction_type="epsilon")
    own = from_diffusers(copied)
    if schedule is not None and not schedule.matches(own):
        raise BadInput(
            f"The sampler's noise schedule ({own}) is not that of the model ({schedule}); "
            "load the scheduler from the model's own folder."
        )
    return copied


def _first_step(scheduler: Any, steps: int, strength: float) -> int:
    """Where a run of the last ``strength`` of the steps begins, in scheduler.timesteps."""
    first = (steps - max(1, int(steps * strength))) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    return first


def _accepted(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Those options that the function takes."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in names}
