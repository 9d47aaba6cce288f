"""Pictures denoised together: DDIM where they agree already, and what they agree on where they do not."""

from __future__ import annotations

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from slipcast.guidance.agreement import denoise_together, falling_timesteps
from slipcast.guidance.schedules import NoiseSchedule, from_diffusers


class Knows:
    """A denoiser that knows what is under the noise, picture by picture."""

    def __init__(self, truth: Tensor) -> None:
        self.truth, self.asked = truth, list[int]()
        self.schedule = NoiseSchedule(torch.linspace(0.999, 0.01, 1000))

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.asked.append(int(t[0]))
        return self.schedule.eps_from_x0(x_t, self.truth, t)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_timesteps_fall_evenly_and_end_above_the_clean_picture() -> None:
    schedule = NoiseSchedule(torch.linspace(0.999, 0.01, 1000))
    assert falling_timesteps(1.0, 4, schedule) == [999, 749, 500, 250]
    assert falling_timesteps(0.0, 2, schedule) == [0, 0]
    for start, steps in ((1.1, 4), (-0.1, 4), (0.5, 0)):
        with pytest.raises(ValueError, match="start lies in"):
            falling_timesteps(start, steps, schedule)


def test_pictures_that_agree_are_those_of_ddim() -> None:
    """Without a change, a step is diffusers' DDIM step between the same two timesteps."""
    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=True, timestep_spacing="leading")
    schedule, steps = from_diffusers(scheduler), 5
    weight = normal(3, 3, seed=1) * 0.3

    class Denoiser:
        def __init__(self) -> None:
            self.schedule = schedule

        def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
            return torch.einsum("dc,bchw->bdhw", weight, x_t).tanh()

    clean, noise = normal(2, 3, 4, 4, seed=2), normal(2, 3, 4, 4, seed=3)
    ours = denoise_together(Denoiser(), clean, noise, lambda x0: x0, start=0.6, steps=steps)
    times = falling_timesteps(0.6, steps, schedule)
    x = schedule.add_noise(clean, noise, torch.tensor([times[0]] * 2))
    for now, then in zip(times, [*times[1:], None], strict=True):
        eps = Denoiser()(x, torch.tensor([now] * 2))
        before, after = (
            schedule.alpha_bar(torch.tensor([t]))[0] if t is not None else torch.tensor(1.0)
            for t in (now, then)
        )
        x0 = (x - (1 - before).sqrt() * eps) / before.sqrt()
        x = after.sqrt() * x0 + (1 - after).sqrt() * eps
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-5)


def test_what_is_under_the_noise_comes_out_at_any_start() -> None:
    denoiser = Knows(normal(3, 2, 4, 4))
    for start in (0.0, 0.3, 1.0):
        made = denoise_together(
            denoiser,
            normal(3, 2, 4, 4, seed=5),
            normal(3, 2, 4, 4, seed=6),
            lambda x0: x0,
            start=start,
            steps=3,
        )
        torch.testing.assert_close(made, denoiser.truth, rtol=1e-3, atol=1e-3)


def test_the_result_is_what_was_agreed_on() -> None:
    """Every picture knows another truth; what comes out is their mean, in each."""
    truth = normal(4, 2, 3, 3)
    made = denoise_together(
        Knows(truth),
        truth,
        normal(4, 2, 3, 3, seed=1),
        lambda x0: x0.mean(0, keepdim=True).expand_as(x0),
        start=0.5,
        steps=6,
    )
    torch.testing.assert_close(made, truth.mean(0, keepdim=True).expand_as(truth), rtol=1e-3, atol=1e-3)


def test_agreement_may_be_rarer_than_steps_but_comes_last() -> None:
    calls = list[int]()
    denoiser = Knows(normal(1, 1, 2, 2))

    def agree(x0: Tensor) -> Tensor:
        calls.append(len(denoiser.asked))
        return x0

    clean, told = normal(1, 1, 2, 2), list[tuple[int, int]]()
    denoise_together(
        denoiser,
        clean,
        clean,
        agree,
        start=0.5,
        steps=6,
        agree_every=3,
        callback=lambda *done: told.append(done),
    )
    assert calls == [3, 6] and told == [(k, 6) for k in range(1, 7)]
    with pytest.raises(ValueError, match="agree_every is at least 1, not 0"):
        denoise_together(denoiser, clean, clean, agree, start=0.5, steps=7, agree_every=0)


def test_nearly_no_noise_is_nearly_no_change() -> None:
    clean = normal(2, 1, 4, 4)
    schedule = NoiseSchedule(torch.linspace(0.99999, 0.01, 1000))

    class Wrong:
        def __init__(self) -> None:
            self.schedule = schedule

        def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
            return torch.zeros_like(x_t)

    made = denoise_together(Wrong(), clean, normal(2, 1, 4, 4, seed=9), lambda x0: x0, start=0.0, steps=4)
    torch.testing.assert_close(made, clean, rtol=0, atol=0.02)
