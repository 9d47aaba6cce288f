"""Pictures from noise: a diffusers scheduler, driven by a callable (x_t, t) -> eps_hat.

Any variance-preserving one; for flow models ``flow_sampler`` has the way to eps and back.

No guidance arithmetic here: the callable is a ``GuidedNoise``, or anything of its shape.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..configs.errors import BadInput
from .flow_sampler import FlowSampler
from .schedulers import first_step, set_steps
from .schedules import NoiseSchedule, Schedule, from_diffusers, parameterisation_named
from .shapes import Latents

NoiseFunction = Callable[[Tensor, Tensor], Tensor]
"""(x_t [B, C, h, w], t [B]) -> eps [B, C, h, w]"""


def seeded_noise(
    seeds: Sequence[int],
    shape: tuple[int, int, int],
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> tuple[Latents, list[torch.Generator]]:
    """Unit normal noise [B, C, h, w] with one generator per sample: a seed gives its picture at any batch size.

    Drawn on the CPU and then moved: a seed means the same noise on every device.

    Returns: the noise, and the generators (of the CPU) for samplers that go on drawing.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = torch.stack([torch.randn(shape, generator=g, dtype=dtype) for g in generators])
    return noise.to(device), generators


@torch.no_grad()
def sample(
    noise_fn: NoiseFunction,
    scheduler: Any,
    latents: Latents,
    *,
    steps: int,
    start: Latents | None = None,
    strength: float = 1.0,
    mask: Float[Tensor, "#batch 1 height width"] | None = None,
    eta: float | None = None,
    generator: torch.Generator | list[torch.Generator] | None = None,
    callback: Callable[[int, int, Tensor], None] | None = None,
) -> Latents:
    """Run a diffusers scheduler from noise to clean latents.

    The scheduler is copied and told that its model predicts eps. Everything runs in float64 where the
    device has it: near pure noise x0 = (x_t - s eps) / a is a difference of nearly equal numbers, and
    float32 would lose what a v-predicting network knows there.

    Args:
        noise_fn: (x_t, t) -> eps_hat. If it has a ``schedule``, the scheduler's must be the same.
        scheduler: DDIM, DPM-Solver++, UniPC, Euler, ...; left as it is.
        latents: unit normal noise [B, C, h, w], on the device where sampling is to run: the network's.
        steps: sampling steps.
        start: clean latents to begin from (SDEdit, arxiv.org/abs/2108.01073), noised by ``latents``.
        strength: with ``start``, the part of the steps that is run; 1 forgets most of ``start``.
        mask: with ``start``, where to paint anew: [1 or B, 1, h, w], 1 paints and 0 keeps ``start`` (inpainting
            with an ordinary model, as in RePaint, arxiv.org/abs/2201.09865, without its resampling).
        eta: DDIM's or TCD's randomness, ignored by schedulers without it; None is the scheduler's own, 0 and 0.3.
        generator: of the CPU, for schedulers that add noise; one, or one per sample.
        callback: called after each step with (steps done, steps in all, latents).
    Returns:
        Clean latents [B, C, h, w] in the dtype and on the device of ``latents``.
    Raises:
        BadInput: the scheduler cannot be used or was made for another noise schedule.
        ValueError: steps or strength are out of range, or a mask has no ``start``.
    """
    if mask is not None and start is None:
        raise ValueError("A mask needs the start that it keeps.")
    if not 0 < strength <= 1:
        raise ValueError(f"strength is the part of the steps to run, above 0 and at most 1, not {strength}.")
    schedule = getattr(noise_fn, "schedule", None)
    scheduler = _speaking_eps(scheduler, schedule)
    if getattr(schedule, "ends_in_noise", False) and latents.device.type == "mps":
        raise BadInput(
            "the model begins at pure noise, which needs float64, and mps has none; use device=cpu"
        )
    if not 1 <= steps <= scheduler.config.num_train_timesteps:
        raise ValueError(f"steps lies between 1 and {scheduler.config.num_train_timesteps}, not {steps}.")
    set_steps(scheduler, steps, latents.device, side=(latents.shape[-2], latents.shape[-1]))
    first = 0 if start is None else first_step(scheduler, steps, strength)
    if start is not None and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    timesteps = scheduler.timesteps[first:]

    noise = latents.to(torch.float32 if latents.device.type == "mps" else torch.float64)
    x = noise * scheduler.init_noise_sigma
    start = None if start is None else start.to(noise)
    mask = None if mask is None else mask.to(noise)
    if start is not None and (
        mask is None or strength < 1
    ):  # a hole that is painted in full starts from noise
        x = scheduler.add_noise(start, noise, timesteps[:1].expand(len(noise)))

    options = _accepted(scheduler.step, generator=generator, **({} if eta is None else {"eta": eta}))
    spaced = any(scheduler.config.get(f"use_{kind}_sigmas") for kind in ("karras", "exponential"))
    # The timesteps of flow models name their levels exactly, and their sampler keeps no others.
    levels = getattr(scheduler, "sigmas", None) if spaced else None
    for i, t in enumerate(timesteps):
        x_t = scheduler.scale_model_input(x, t)
        eps = noise_fn(x_t, t.expand(len(x_t)))
        if levels is not None:
            eps = _at_level_of(float(levels[first + i]), eps, x_t, t, noise_fn)
        eps = _fitting(eps, x.shape[1], scheduler)
        x = scheduler.step(eps, t, x, return_dict=False, **options)[0]
        if mask is not None and start is not None:
            x = mask * x + (1 - mask) * _at_level(scheduler, start, noise, timesteps[i + 1 :])
        if callback is not None:
            callback(i + 1, len(timesteps), x)
    return x.to(latents.dtype)


def _speaking_eps(scheduler: Any, schedule: Schedule | None) -> Any:
    """A copy of the scheduler that reads the model's output as eps, on the schedule of the noise function."""
    if isinstance(scheduler, FlowSampler):
        _refuse_another(scheduler.schedule, schedule)
        return copy.deepcopy(scheduler)
    if "prediction_type" not in scheduler.config:
        name = type(scheduler).__name__
        raise BadInput(
            f"{name} cannot read eps predictions; use DDIMScheduler, DPMSolverMultistepScheduler or so."
        )
    copied = copy.deepcopy(
        scheduler
    )  # quicker than from_config, which takes a tenth of a step of the starter's
    own = from_diffusers(copied)
    assert isinstance(own, NoiseSchedule)
    copied.register_to_config(prediction_type="epsilon")
    if own.ends_in_noise:  # as near to pure noise as the model's own table, so that both mean the same x0
        nearest = getattr(schedule, "alphas_cumprod", own.alphas_cumprod)[-1]
        copied.alphas_cumprod = copied.alphas_cumprod.clamp_min(float(nearest))
        own = NoiseSchedule(copied.alphas_cumprod)
    if isinstance(schedule, NoiseSchedule) and schedule.ends_in_noise and not own.ends_in_noise:
        raise BadInput(
            f"the model begins at pure noise (zero terminal SNR), which {type(scheduler).__name__} does not; "
            "choose the scheduler ddim, ddpm, lcm or tcd"
        )
    _refuse_another(own, schedule)
    return copied


def _refuse_another(own: Schedule, schedule: Schedule | None) -> None:
    if schedule is not None and not schedule.matches(own):
        raise BadInput(
            f"The sampler's noise schedule ({own}) is not that of the model ({schedule}); "
            "load the scheduler from the model's own folder."
        )


def _at_level_of(sigma: float, eps: Tensor, x_t: Tensor, t: Tensor, noise_fn: Any) -> Tensor:
    """eps at the noise level s / a = ``sigma``, which the timestep t of a spaced sampler names only roughly.

    What a network answers holds at x_t; only v and x0 become another eps at another level.
    """
    kind = getattr(noise_fn, "prediction_type", "epsilon")
    if kind == "epsilon":
        return eps
    way, every = parameterisation_named(kind), torch.zeros(len(x_t), dtype=torch.long)
    answer = way.from_eps(noise_fn.schedule, x_t, eps, t.expand(len(x_t)))
    return way.to_eps(NoiseSchedule(torch.tensor([1 / (1 + sigma**2)])), x_t, answer, every)


def _fitting(output: Tensor, channels: int, scheduler: Any) -> Tensor:
    """eps alone, or eps and the learned variance behind it where the scheduler reads that."""
    if str(scheduler.config.get("variance_type", "")).startswith("learned"):
        if output.shape[1] != 2 * channels:
            raise BadInput(
                "The sampler reads a learned variance, which this model does not give; use variance_type='fixed_small'."
            )
        return output
    return output[:, :channels]


def _at_level(scheduler: Any, start: Tensor, noise: Tensor, rest: Tensor) -> Tensor:
    """The kept part as noisy as the next step expects, clean after the last one."""
    return scheduler.add_noise(start, noise, rest[:1].expand(len(noise))) if len(rest) else start


def _accepted(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Those options that the function takes."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in names}
