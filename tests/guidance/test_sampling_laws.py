"""The sampler against Gaussians, whose probability-flow trajectories are known in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from slipcast.configs.errors import BadInput
from slipcast.guidance import (
    Branch,
    GaussianPredictor,
    GuidedNoise,
    around,
    from_diffusers,
    sample,
    sds_gradient,
)
from slipcast.guidance.algebra import Guidance
from slipcast.guidance.schedulers import noise_between

MEAN, VARIANCE = 0.7, 0.25


# diffusers hands tensors to numpy in the way numpy 1 liked.
def scheduler(name: str = "DDIMScheduler", **options: Any) -> Any:
    import diffusers

    stable_diffusion = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    if name == "DDIMScheduler":
        options = {"clip_sample": False, "timestep_spacing": "trailing", **options}
    if name == "DDPMScheduler":
        options = {"clip_sample": False, **options}
    return getattr(diffusers, name)(**stable_diffusion, **options)


def gaussian(mean: float = MEAN, variance: float = VARIANCE) -> GaussianPredictor:
    return GaussianPredictor(mean, variance, from_diffusers(scheduler()))


def noise(batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def exact(x: torch.Tensor, t: int, mean: float = MEAN) -> torch.Tensor:
    """Where the probability-flow ODE takes x at timestep t: deviations from the mean keep their number of sigmas."""
    alpha_bar = from_diffusers(scheduler()).alpha_bar(torch.tensor([t])).item()
    return mean + VARIANCE**0.5 * (x - alpha_bar**0.5 * mean) / (alpha_bar * VARIANCE + 1 - alpha_bar) ** 0.5


def test_ddim_follows_the_exact_trajectory() -> None:
    guided = GuidedNoise(Guidance(Branch("data", gaussian())))
    errors = [
        (sample(guided, scheduler(), noise(), steps=n) - exact(noise(), 999)).abs().max().item()
        for n in (50, 100, 500)
    ]
    assert errors[2] < 0.02
    # First order: half the step, half the error.
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("DPMSolverMultistepScheduler", 0.04),
        ("UniPCMultistepScheduler", 0.04),
        ("EulerDiscreteScheduler", 0.07),
        ("HeunDiscreteScheduler", 0.02),
        ("PNDMScheduler", 0.02),
    ],
)
def test_other_schedulers_arrive_at_the_same_place(name, tolerance) -> None:
    guided = GuidedNoise(Guidance(Branch("data", gaussian())))
    found = sample(guided, scheduler(name), noise(), steps=100)
    torch.testing.assert_close(found, exact(noise(), 999), atol=tolerance, rtol=0)


def test_random_sampling_has_the_right_mean_and_variance() -> None:
    guided = GuidedNoise(Guidance(Branch("data", gaussian())))
    seeded = torch.Generator().manual_seed(5)
    found = sample(guided, scheduler("DDPMScheduler"), noise(1000), steps=500, generator=seeded)
    assert found.mean().item() == pytest.approx(MEAN, abs=0.02)
    # Ancestral steps of finite length lose variance: measured 29 % at 25 steps, 9 % at 250, 4 % at 500.
    assert found.var().item() == pytest.approx(VARIANCE, rel=0.06)


def test_guidance_of_gaussians_moves_the_mean() -> None:
    # With equal variances eps is affine in the mean, so w = 3 samples a Gaussian with mean m0 + 3 (m1 - m0).
    guided = GuidedNoise(around(Branch("null", gaussian(0.1)), (Branch("text", gaussian(0.3)), 3.0)))
    found = sample(guided, scheduler(), noise(), steps=500)
    torch.testing.assert_close(found, exact(noise(), 999, mean=0.7), atol=0.02, rtol=0)


def test_generator_decides_and_nothing_else_is_random() -> None:
    guided = GuidedNoise(Guidance(Branch("data", gaussian())))

    def draw(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return sample(guided, scheduler(), noise(), steps=5, eta=1.0, generator=generator)

    before = torch.get_rng_state()
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_a_start_is_noised_and_restored(name) -> None:
    # Near-certain data: wherever it starts, it ends at the mean; a short run from elsewhere sees few timesteps.
    guided = GuidedNoise(Guidance(Branch("data", gaussian(variance=1e-6))))
    seen: list[float] = []

    def spy(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(t[0].item())
        return guided(x_t, t)

    start = torch.full((4, 1, 4, 4), MEAN)
    found = sample(spy, scheduler(name), noise(), steps=20, start=start, strength=0.3)
    torch.testing.assert_close(found, start, atol=0.01, rtol=0)
    assert len(seen) == 6
    assert max(seen) < 350


def test_a_start_among_repeated_timesteps_begins_at_the_right_one() -> None:
    # Karras' spacing rounds many noise levels to the same late timestep; the place cannot be told from it.
    guided = GuidedNoise(Guidance(Branch("data", gaussian(variance=1e-6))))
    karras = scheduler("DPMSolverMultistepScheduler", use_karras_sigmas=True)
    start = torch.full((4, 1, 4, 4), MEAN)
    for strength in (0.05, 0.06, 0.07, 0.08):
        found = sample(guided, karras, noise(), steps=100, start=start, strength=strength)
        torch.testing.assert_close(found, start, atol=0.03, rtol=0)


def test_callback_counts_the_steps() -> None:
    seen: list[tuple[int, int]] = []
    guided = GuidedNoise(Guidance(Branch("data", gaussian())))
    sample(guided, scheduler(), noise(), steps=4, callback=lambda i, n, x: seen.append((i, n)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_latents_keep_their_dtype_and_the_scheduler_is_left_alone() -> None:
    theirs = scheduler(prediction_type="v_prediction")
    guided = GuidedNoise(Guidance(Branch("data", gaussian())))
    assert sample(guided, theirs, noise(), steps=3).dtype == torch.float32
    assert theirs.config.prediction_type == "v_prediction"
    assert theirs.num_inference_steps is None


def test_sampler_and_distillation_share_one_object_and_its_numbers() -> None:
    # One step from alpha_bar = 0.75, where s = 1/2 exactly: with z = 0 and noise 2 x, distillation sees x itself.
    from diffusers import DDIMScheduler

    one_step = DDIMScheduler(num_train_timesteps=1, trained_betas=[0.25], clip_sample=False)  # type: ignore[arg-type]
    schedule = from_diffusers(one_step)
    prior = GaussianPredictor(0.1, 0.5, schedule)
    domain = GaussianPredictor(0.9, 0.2, schedule, name="domain")
    guided = GuidedNoise(around(Branch("null", prior), (Branch("domain", domain), 2.5)))
    log: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Spy:
        def __init__(self) -> None:
            self.schedule = guided.schedule

        def __call__(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            log.append((x_t, guided(x_t, t)))
            return log[-1][1]

        def delta(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return guided.delta(x_t, t)

    spy, x = Spy(), noise().double()
    sample(spy, one_step, x, steps=1)
    sds_gradient(spy, torch.zeros_like(x), torch.zeros(4, dtype=torch.long), 2 * x)
    (x_sampling, eps_sampling), (x_distilling, eps_distilling) = log
    assert torch.equal(x_sampling, x_distilling)
    assert torch.equal(eps_sampling, eps_distilling)


def test_a_scheduler_of_another_model_is_refused() -> None:
    from diffusers import DDIMScheduler

    guided = GuidedNoise(Guidance(Branch("data", gaussian())))
    with pytest.raises(BadInput, match="not that of the model"):
        sample(guided, DDIMScheduler(beta_schedule="linear"), noise(), steps=5)


def test_schedulers_that_cannot_read_eps_and_nonsense_are_refused() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    guided = GuidedNoise(Guidance(Branch("data", gaussian())))
    with pytest.raises(BadInput, match="FlowMatchEulerDiscreteScheduler cannot read eps"):
        sample(guided, FlowMatchEulerDiscreteScheduler(), noise(), steps=5)
    for steps in (0, 1001):
        with pytest.raises(ValueError, match="between 1 and 1000"):
            sample(guided, scheduler(), noise(), steps=steps)
    with pytest.raises(ValueError, match="strength"):
        sample(guided, scheduler(), noise(), steps=5, start=noise(), strength=0.0)


@pytest.mark.parametrize(
    "name",
    ["DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler", "DPMSolverMultistepScheduler"],
)
def test_a_part_of_the_steps_is_the_part_that_diffusers_runs(name) -> None:
    """int(steps * strength) steps at the end, one at least; Heun looks twice at each but the last."""
    guided = GuidedNoise(Guidance(Branch("data", gaussian())))
    for steps, strength in ((20, 1.0), (20, 0.999), (20, 0.3), (20, 0.29), (10, 0.55), (20, 0.04), (1, 0.5)):
        seen: list[float] = []

        def spy(x_t: torch.Tensor, t: torch.Tensor, seen: list[float] = seen) -> torch.Tensor:
            seen.append(t[0].item())
            return guided(x_t, t)

        sample(spy, scheduler(name), noise(1), steps=steps, start=noise(1), strength=strength)
        whole = scheduler(name)
        whole.set_timesteps(steps)
        run = max(1, int(steps * strength))
        wanted = whole.timesteps[(steps - run) * whole.order :]
        assert seen == pytest.approx(wanted.tolist())
        assert len(seen) == (2 * run - 1 if whole.order == 2 else run)


@pytest.mark.parametrize("steps", [1, 10])
def test_one_step_and_every_step_are_allowed(steps) -> None:
    """Told that everything is noise, x0 = (x_t - s x_t) / a; DDIM then goes straight there."""
    few = scheduler(num_train_timesteps=10)
    counted: list[tuple[int, int]] = []
    sample(lambda x, t: x, few, noise(1), steps=steps, callback=lambda i, n, x: counted.append((i, n)))
    assert counted == [(i + 1, steps) for i in range(steps)]
    for bad in (0, 11):
        with pytest.raises(ValueError, match="between 1 and 10"):
            sample(lambda x, t: x, few, noise(1), steps=bad)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_law_a_span_of_noise_holds_the_steps_that_diffusers_would_choose(count: int) -> None:
    times = [0.9 - 0.7 * i / count for i in range(count)]
    borders = [i / 20 for i in range(21)]
    for begin, end in [(a, b) for a in borders for b in borders]:
        # As its pipelines with control_guidance_start and control_guidance_end do.
        chosen = [not (i / count < begin or (i + 1) / count > end) for i in range(count)]
        if not any(chosen):
            with pytest.raises(BadInput, match=f"none of the {count} steps lies between"):
                noise_between(times, begin, end)
            continue
        since, until = noise_between(times, begin, end)
        assert [since <= time <= until for time in times] == chosen
        # Up to the ends where the outermost step is one of them, so that the rounding of times decides nothing.
        assert (until == 1.0) == chosen[0] and (since == 0.0) == chosen[-1]
    if count == 3:
        assert noise_between([0.9, 0.6, 0.3], 0.3, 0.7) == pytest.approx((0.45, 0.75))
