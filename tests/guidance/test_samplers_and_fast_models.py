"""Further samplers, distilled networks and schedules that end in pure noise, against diffusers' own pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from fakes import tiny_pipelines as tiny

from slipcast.configs.errors import BadInput
from slipcast.guidance import Branch, GuidedNoise, UNetPredictor, from_diffusers, sample
from slipcast.guidance.conditioning import Conditioning
from slipcast.guidance.networks import beside
from slipcast.guidance.recipes import around, cfg
from slipcast.guidance.schedulers import SCHEDULERS, scheduler_named
from slipcast.guidance.transforms import Rescaled

CLOSE: dict[str, Any] = dict(atol=1e-5, rtol=0)
pytestmark = pytest.mark.usefixtures("in_float64")

PURE: dict[str, Any] = dict(
    rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction"
)


def noise() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def predictor_of(pipe: Any) -> UNetPredictor:
    return UNetPredictor(
        pipe.unet,
        schedule=from_diffusers(pipe.scheduler),
        prediction_type=pipe.scheduler.config.prediction_type,
        latent_space="tiny",
        name="tiny",
    )


def texts(pipe: Any) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return pipe.encode_prompt("a teapot", "cpu", 1, True)


def by_diffusers(pipe: Any, steps: int, weight: float, **more: Any) -> torch.Tensor:
    return pipe(
        ["a teapot"] * 2, height=16, width=16, num_inference_steps=steps, guidance_scale=weight, latents=noise(),
        output_type="latent", **more,
    ).images  # fmt: skip


NAMES = ["heun", "lcm", "tcd", *(name for name in SCHEDULERS if name.endswith(("karras", "exponential")))]
NAMES = [name for name in NAMES if "unipc" not in name]  # which cannot compute under a default of float64


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", NAMES)
def test_a_sampler_draws_what_diffusers_draws(tmp_path: Path, name: str, prediction_type: str) -> None:
    pipe = tiny.stable_diffusion(tmp_path, prediction_type=prediction_type)
    pipe.scheduler = scheduler_named(name, pipe.scheduler)
    (text, null), predictor = texts(pipe), predictor_of(pipe)
    guided = GuidedNoise(cfg(Branch("null", predictor, null), Branch("text", predictor, text), 3.0))
    ours = sample(
        guided, pipe.scheduler, noise(), steps=4, eta=0.0, generator=torch.Generator().manual_seed(1)
    )
    theirs = by_diffusers(pipe, 4, 3.0, eta=0.0, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours, theirs, **CLOSE)


def distilled(folder: Path) -> Any:
    pipe = tiny.stable_diffusion(folder)
    torch.manual_seed(2)
    pipe.unet = tiny.unet(time_cond_proj_dim=9)
    return pipe


@pytest.mark.parametrize("weight", [1.0, 8.5])
def test_a_latent_consistency_model_is_told_its_guidance(tmp_path: Path, weight: float) -> None:
    pipe = distilled(tmp_path)
    own: Any = diffusers.LCMScheduler.from_config(pipe.scheduler.config)
    theirs = diffusers.LatentConsistencyModelPipeline(
        **{name: part for name, part in pipe.components.items() if name != "scheduler"},
        scheduler=own, requires_safety_checker=False,
    )  # fmt: skip
    predictor, (text, _) = predictor_of(pipe), texts(pipe)
    told = Conditioning(text=text, guidance=torch.tensor([weight], dtype=torch.float32))
    guided = GuidedNoise(around(Branch("text", predictor, told)))
    ours = sample(guided, own, noise(), steps=3, generator=torch.Generator().manual_seed(1))
    theirs = tiny.quiet(theirs)
    expected = by_diffusers(theirs, 3, weight, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours, expected, **CLOSE)
    # Stable Diffusion's own pipeline gives such a network no guidance beside the one inside.
    ours = sample(guided, pipe.scheduler, noise(), steps=3)
    torch.testing.assert_close(ours, by_diffusers(pipe, 3, weight), **CLOSE)


def test_each_row_has_its_own_guidance_and_a_network_without_one_refuses_none(tmp_path: Path) -> None:
    pipe = distilled(tmp_path)
    predictor, (text, null) = predictor_of(pipe), texts(pipe)
    t = torch.tensor([400, 700])
    weak, strong = (Conditioning(text=text, guidance=torch.tensor([w])) for w in (2.0, 9.0))
    both = predictor.predict(noise(), t, [weak, strong])
    for one, together in zip((weak, strong), both, strict=True):
        torch.testing.assert_close(predictor.predict(noise(), t, [one])[0], together, **CLOSE)
    assert (both[0] - both[1]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="is distilled and needs the weight of its guidance"):
        predictor.predict(noise(), t, [null])
    assert beside(pipe.unet, predictor, name="other").guidance_width == 9


@pytest.mark.parametrize("rescale", [0.0, 0.7])
@pytest.mark.parametrize("steps", [1, 4])
def test_zero_terminal_snr_with_ddim(tmp_path: Path, steps: int, rescale: float) -> None:
    """arxiv.org/abs/2305.08891: betas rescaled, steps trailing, v prediction, and contrast restored on v."""
    pipe = tiny.stable_diffusion(tmp_path)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config, **PURE)
    (text, null), predictor = texts(pipe), predictor_of(pipe)
    assert predictor.schedule.ends_in_noise  # pyright: ignore[reportAttributeAccessIssue]
    plain = cfg(Branch("null", predictor, null), Branch("text", predictor, text), 5.0)
    guidance = plain if not rescale else rescaled(plain, rescale)
    sampler = scheduler_named("ddim", pipe.scheduler)
    ours = sample(GuidedNoise(guidance), sampler, noise(), steps=steps)
    assert int(sampler.config.num_train_timesteps) == 1000
    torch.testing.assert_close(ours, by_diffusers(pipe, steps, 5.0, guidance_rescale=rescale), **CLOSE)


def rescaled(guidance: Any, phi: float) -> Any:
    from dataclasses import replace

    return replace(guidance, final=Rescaled(guidance.terms[0].positive, phi))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_guidance_rescale_is_of_what_the_network_answers(tmp_path: Path, prediction_type: str) -> None:
    pipe = tiny.stable_diffusion(tmp_path, prediction_type=prediction_type)
    (text, null), predictor = texts(pipe), predictor_of(pipe)
    guidance = rescaled(cfg(Branch("null", predictor, null), Branch("text", predictor, text), 9.0), 0.5)
    ours = sample(GuidedNoise(guidance), pipe.scheduler, noise(), steps=3)
    torch.testing.assert_close(ours, by_diffusers(pipe, 3, 9.0, guidance_rescale=0.5), **CLOSE)


def test_samplers_that_cannot_are_a_sentence(tmp_path: Path) -> None:
    pipe = tiny.stable_diffusion(tmp_path)
    (text, _), predictor = texts(pipe), predictor_of(pipe)
    with pytest.raises(BadInput, match="LCMScheduler cannot take 60 steps"):
        sample(
            GuidedNoise(around(Branch("text", predictor, text))), scheduler_named("lcm", pipe.scheduler), noise(),
            steps=60,
        )  # fmt: skip
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config, **PURE)
    pure = GuidedNoise(around(Branch("text", predictor_of(pipe), text)))
    for name in ("dpm++", "euler", "heun"):
        with pytest.raises(
            BadInput, match=r"begins at pure noise .*; choose the scheduler ddim, ddpm, lcm or tcd"
        ):
            sample(pure, scheduler_named(name, pipe.scheduler), noise(), steps=2)
    for name in ("ddpm", "lcm", "tcd"):
        assert sample(pure, scheduler_named(name, pipe.scheduler), noise(), steps=2).isfinite().all()
