"""Seconds per step of guided denoising: one call per network against one call per branch, and the overhead around it.

python -m benchmarks.guidance_cost [--laps 5] [--out benchmarks/results]   (6 minutes on two idle cores)

"One call per branch" is how the paper's authors sample (arxiv.org/abs/2312.08195): prior without text, prior with text
and domain, one after the other. Their domain network is compared in both its forms: as a full UNet, and converted to
take no text. "Bare forwards" are ours without anything around them: how low a step can go on this processor. The SD
1.5-sized networks have random weights: time does not depend on them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from slipcast.guidance import Branch, GuidedNoise, UNetPredictor, sample
from slipcast.guidance.null_text import make_null_text, null_text_features
from slipcast.guidance.recipes import cfg, in_domain
from slipcast.guidance.schedules import from_diffusers
from slipcast.systems.domain.model import load_domain
from slipcast.systems.models.base import load_base
from slipcast.systems.models.known import WEIGHTS
from slipcast.systems.models.precision import ready

from .machine import report

TIMESTEP = 500
BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def seconds(laps: int, **ways: Callable[[], Any]) -> dict[str, float]:
    """Median seconds of each way, taking turns so that a slower minute of the machine hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for lap in range(laps + 1):  # the first warms up
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name] += [time.perf_counter() - start] if lap else []
    return {name: statistics.median(laps) for name, laps in taken.items()}


def one_call_per_branch(calls: list[tuple[Any, Any]], x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The authors' step: every branch by itself, in the network's own dtype, then the weighted sum."""
    first, *others = [
        network(x.to(network.dtype), t, encoder_hidden_states=text, return_dict=False)[0].float()
        for network, text in calls
    ]
    return first + sum(3.0 * (other - first) for other in others)


def three_branches(full: Any, null_text: Any, texts: list[torch.Tensor], schedule: Any) -> GuidedNoise:
    """In-domain guidance: the prior without text and with it, and the domain."""
    options = {"schedule": schedule, "prediction_type": "epsilon", "latent_space": "cost"}
    prior = UNetPredictor(full, name="prior", **options)
    domain = UNetPredictor(null_text, name="domain", **options)
    null, text = (Branch(name, prior, told) for name, told in zip(("null", "text"), texts, strict=True))
    return GuidedNoise(in_domain(null, (Branch("domain", domain), 3.0), [(text, 3.0)]))


@torch.no_grad()
def measure_step(
    full: Any, null_text: Any, text_shape: tuple[int, int], side: int, laps: int, schedule: Any
) -> dict[str, Any]:
    """One guided step of three branches on latents of ``side`` x ``side``, and single forwards."""
    x, t = torch.randn(1, full.config.in_channels, side, side), torch.tensor([TIMESTEP])
    texts = [torch.randn(1, *text_shape) for _ in range(2)]
    guided = three_branches(full, null_text, texts, schedule)
    null, text = (told.to(full.dtype) for told in texts)
    rows = x.to(full.dtype)
    both = rows.repeat(2, 1, 1, 1), t.repeat(2), torch.cat([null, text])
    took = seconds(
        laps,
        ours=lambda: guided(x, t),
        bare_forwards=lambda: (full(*both), null_text(rows, t, None)),
        full_domain=lambda: one_call_per_branch([(full, null), (full, text), (full, text)], x, t),
        converted_domain=lambda: one_call_per_branch([(full, null), (full, text), (null_text, None)], x, t),
        full=lambda: one_call_per_branch([(full, text)], x, t),
        null_text=lambda: one_call_per_branch([(null_text, None)], x, t),
    )
    return {
        "seconds": {name: round(value, 4) for name, value in took.items()},
        "step_over_bare_forwards": round(took["ours"] / took["bare_forwards"], 3),
        "step_over_full_domain": round(took["ours"] / took["full_domain"], 3),
        "step_over_converted_domain": round(took["ours"] / took["converted_domain"], 3),
        "null_text_over_full": round(took["null_text"] / took["full"], 3),
    }


def sd15_sized() -> Any:
    """A UNet with the architecture of Stable Diffusion 1.5 and random weights, in bf16."""
    from diffusers import UNet2DConditionModel

    torch.set_default_dtype(torch.bfloat16)
    try:
        unet: Any = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64)
    finally:
        torch.set_default_dtype(torch.float32)
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964
    return ready(unet.requires_grad_(False).eval(), "cpu", torch.bfloat16)


@contextmanager
def timed_calls(*networks: Any) -> Any:
    """Seconds spent inside the networks' forwards, in a list that is appended to."""
    spent, starts = [], []
    hooks = [n.register_forward_pre_hook(lambda *_: starts.append(time.perf_counter())) for n in networks]
    hooks += [
        n.register_forward_hook(lambda *_: spent.append(time.perf_counter() - starts.pop())) for n in networks
    ]
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


def overhead(full: Any, null_text: Any, side: int, steps: int, schedule: Any) -> float:
    """Share of a sampling loop outside the networks: planning, stacking, combining, checks and the scheduler."""
    from diffusers import DPMSolverMultistepScheduler

    texts = [torch.randn(1, 77, full.config.cross_attention_dim) for _ in range(2)]
    guided = three_branches(full, null_text, texts, schedule)
    noise = torch.randn(1, full.config.in_channels, side, side)
    scheduler = DPMSolverMultistepScheduler(**BETAS)
    sample(guided, scheduler, noise, steps=1)
    with timed_calls(full, null_text) as spent:
        start = time.perf_counter()
        sample(guided, scheduler, noise, steps=steps)
        whole = time.perf_counter() - start
    return 1 - sum(spent) / whole


def cfg_against_diffusers(laps: int) -> dict[str, float]:
    """20 steps of the starter for one picture: our sampler and ``StableDiffusionPipeline``, both in latents."""
    base = load_base(WEIGHTS / "prior")
    pipeline = base.pipeline
    prompt = "a red plastic chair"
    null, text = (base.condition([words]) for words in ("", prompt))
    guided = GuidedNoise(cfg(Branch("null", base.predictor, null), Branch("text", base.predictor, text), 4.0))
    noise = torch.randn(1, *base.latent_shape)
    told = {"prompt_embeds": text.text, "negative_prompt_embeds": null.text}
    told = {name: value.to(pipeline.unet.dtype) for name, value in told.items() if value is not None}
    pipeline.text_encoder.to(
        pipeline.unet.dtype
    )  # the pipeline casts what it is told to this network's dtype
    took = seconds(
        laps,
        ours=lambda: sample(guided, pipeline.scheduler, noise, steps=20),
        diffusers=lambda: pipeline(
            **told, guidance_scale=4.0, num_inference_steps=20, output_type="latent",
            latents=noise.to(pipeline.unet.dtype),
        ),
    )  # fmt: skip
    return {name: round(value, 4) for name, value in took.items()} | {
        "ours_over_diffusers": round(took["ours"] / took["diffusers"], 3)
    }


@torch.no_grad()
def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--laps", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    torch.manual_seed(0)
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "laps": given.laps}

    base = load_base(WEIGHTS / "prior")
    domain = load_domain(WEIGHTS / "domain", base)
    words = base.encode_text([""]).shape
    figures["starter"] = measure_step(
        base.predictor.network, domain.unet, (words[1], words[2]), base.latent_shape[1], 10 * given.laps,
        base.predictor.schedule,
    )  # fmt: skip
    figures["cfg"] = cfg_against_diffusers(3 * given.laps)

    from diffusers import DDPMScheduler

    schedule = from_diffusers(DDPMScheduler(**BETAS))
    full = sd15_sized()
    noisy, t = torch.randn(1, 4, 32, 32), torch.tensor([TIMESTEP])
    features = null_text_features(full, torch.randn(1, 77, 768), noisy, t)
    null_text = ready(make_null_text(full, features).eval(), "cpu", torch.bfloat16)
    for side in (32, 64):
        laps = given.laps if side == 32 else max(2, given.laps // 2)
        figures[f"sd15_{side}x{side}"] = measure_step(full, null_text, (77, 768), side, laps, schedule)
    figures["outside_networks"] = round(overhead(full, null_text, 32, 6, schedule), 4)
    report("guidance_cost", figures, given.out)


if __name__ == "__main__":
    main()
