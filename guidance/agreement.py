"""Several pictures denoised together: DDIM whose clean predictions are made to agree before each step goes on.

    x0 = (x_t - s eps_hat) / a        what each picture would be, told by the guided denoiser
    x0' = agree(x0)                   what all of them can be at once, such as views of one texture
    x_u = a_u x0' + s_u eps_hat       the same noise at the next, lower level u    (DDIM, arxiv.org/abs/2010.02502)

TexFusion (arxiv.org/abs/2310.13772) and SyncMVD (arxiv.org/abs/2311.12891) paint meshes so. No guidance arithmetic and
no randomness here; what agreeing means is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from .schedules import Schedule

Agree = Callable[[Tensor], Tensor]
"""Clean latents [B, C, h, w] -> clean latents [B, C, h, w] that agree with each other."""


class ScheduledNoise(Protocol):
    """What is asked of a denoiser; ``GuidedNoise`` is one."""

    @property
    def schedule(self) -> Schedule: ...

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor: ...


def falling_timesteps(start: float, steps: int, schedule: Schedule) -> list[int]:
    """``steps`` timesteps, evenly from the noise fraction ``start`` (t / T) down; the clean picture comes after them.

    Raises: ValueError for a fraction outside [0, 1] or less than one step.
    """
    if not 0 <= start <= 1 or steps < 1:
        raise ValueError(f"start lies in [0, 1] and steps is at least 1, not {start} and {steps}.")
    last = start * (len(schedule) - 1)
    return [round(last * (1 - k / steps)) for k in range(steps)]


@torch.no_grad()
def denoise_together(
    noise_fn: ScheduledNoise,
    clean: Tensor,
    noise: Tensor,
    agree: Agree,
    *,
    start: float,
    steps: int,
    agree_every: int = 1,
    callback: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Add noise to pictures that are there already and denoise them, so that they agree at every step.

    Args:
        noise_fn: (x_t, t) -> eps_hat for the whole batch.
        clean: latents to begin from [B, C, h, w].
        noise: unit normal [B, C, h, w], on any device.
        agree: see ``Agree``; always asked after the last step.
        start: noise fraction t / T to begin at; 0 leaves hardly a change.
        steps: of DDIM.
        agree_every: steps between two agreements, for autoencoders that are dear; 1 agrees at every step.
        callback: called after each step with (steps done, steps in all).
    Returns:
        Clean latents [B, C, h, w], as ``agree`` returned them last.
    Raises:
        ValueError: start, steps or agree_every are out of range.
    """
    if agree_every < 1:
        raise ValueError(f"agree_every is at least 1, not {agree_every}.")
    schedule = noise_fn.schedule
    timesteps = falling_timesteps(start, steps, schedule)
    x = schedule.add_noise(clean, noise.to(clean), _batch(timesteps[0], clean))
    for index, step in enumerate(timesteps):
        t = _batch(step, clean)
        eps = noise_fn(x, t)
        x0 = schedule.x0_from_eps(x, eps, t)
        left = len(timesteps) - 1 - index
        if left % agree_every == 0:
            x0 = agree(x0)
        x = schedule.add_noise(x0, eps, _batch(timesteps[index + 1], clean)) if left else x0
        if callback is not None:
            callback(index + 1, steps)
    return x


def _batch(step: int, like: Tensor) -> Tensor:
    return torch.full((len(like),), step, device=like.device)
