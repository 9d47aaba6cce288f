"""diffusers' samplers by the names that people use, and which of their steps a run takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..configs.errors import BadInput, in_one_line
from ..configs.names import unknown_name
from .flow_sampler import FlowSampler

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpm++-sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}
_SPACED = ("dpm++", "dpm++-sde", "unipc", "euler", "heun")
for _sigmas in ("karras", "exponential"):
    for _name in _SPACED:
        _kind, _options = SCHEDULERS[_name]
        SCHEDULERS[f"{_name}-{_sigmas}"] = (_kind, _options | {f"use_{_sigmas}_sigmas": True})
"""Samplers by the names that people use: diffusers' class and what it is told beside the model's own settings.

``karras`` spaces the noise levels as in arxiv.org/abs/2206.00364, Eq. 5; ``exponential`` evenly in their logarithm.
Heun's method asks the model twice a step; lcm and tcd are for models distilled to few steps.
"""
USUAL_SCHEDULER = "dpm++"
"""Where neither anybody nor a model says which."""


def scheduler_named(name: str, own: Any) -> Any:
    """A sampler on the noise schedule of a model's own scheduler.

    Raises: BadInput for a name that is none of ``SCHEDULERS``.
    """
    import diffusers

    if name not in SCHEDULERS:
        raise unknown_name("scheduler", name, SCHEDULERS)
    kind, options = SCHEDULERS[name]
    return getattr(diffusers, kind).from_config(own.config, **options)


FLOW_SCHEDULERS = ("euler", "ddim")
"""Those of ``SCHEDULERS`` that flow models have; on a straight path both take the same steps."""


def flow_scheduler_named(name: str, own: Any, *, even: bool = False) -> FlowSampler:
    """A sampler of a flow model, at the noise levels of its own scheduler.

    Args:
        even: see ``FlowSampler``.
    Raises: BadInput for a name that is none of ``FLOW_SCHEDULERS``.
    """
    if name not in SCHEDULERS:
        raise unknown_name("scheduler", name, FLOW_SCHEDULERS)
    if name not in FLOW_SCHEDULERS:
        raise BadInput(f"the scheduler {name} is not for flow models, as this base is one; choose euler")
    return FlowSampler(own, even=even)


def set_steps(
    scheduler: Any,
    steps: int,
    device: torch.device | str | None = None,
    *,
    side: tuple[int, int] | None = None,
) -> None:
    """Choose a scheduler's timesteps.

    Args:
        side: (height, width) of the latents, which the steps of flow models may depend on.
    Raises: BadInput for more than it takes: distilled ones were trained with a few.
    """
    told = {"side": side} if isinstance(scheduler, FlowSampler) else {}
    try:
        scheduler.set_timesteps(steps, device=device, **told)
    except ValueError as error:
        raise BadInput(
            f"{type(scheduler).__name__} cannot take {steps} steps ({in_one_line(error)})"
        ) from error


def first_step(scheduler: Any, steps: int, strength: float) -> int:
    """Where a run of the last ``strength`` of the steps begins, in scheduler.timesteps."""
    return (steps - max(1, int(steps * strength))) * scheduler.order


def noise_between(times: Sequence[float], begin: float, end: float) -> tuple[float, float]:
    """(since, until): between which noise fractions t / T those steps lie that run from ``begin`` to ``end``.

    Step i of n is one of them if begin <= i / n and (i + 1) / n <= end, as diffusers counts ``control_guidance_start``
    and ``control_guidance_end``. The borders lie halfway to the steps beside them.

    Args:
        times: t / T of the sampler's steps, the noisiest first.
        begin, end: fractions of the steps, 0 to 1.
    Raises: BadInput when there is no such step.
    """
    count = len(times)
    chosen = [i for i in range(count) if i / count >= begin and (i + 1) / count <= end]
    if not chosen:
        raise BadInput(
            f"none of the {count} steps lies between control_start={begin} and control_end={end}; "
            "move them apart, or take more steps"
        )
    first, last = chosen[0], chosen[-1]
    until = 1.0 if first == 0 else (times[first - 1] + times[first]) / 2
    since = 0.0 if last == count - 1 else (times[last] + times[last + 1]) / 2
    return since, until
