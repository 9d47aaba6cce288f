"""Score distillation against denoisers whose gradient is known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipcast.guidance import (
    Branch,
    GaussianPredictor,
    Guidance,
    GuidedNoise,
    NoiseSchedule,
    annealed_range,
    around,
    draw_timesteps,
    sds_gradient,
    sds_loss,
)
from slipcast.guidance.distillation import SCORES, TIMES
from slipcast.guidance.recipes import bridge, noise_free

T = torch.tensor([20, 500, 980])


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    z, noise = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z, noise


def alone(predictor: GaussianPredictor) -> GuidedNoise:
    return GuidedNoise(Guidance(Branch("data", predictor)))


def test_gradient_equals_the_closed_form_of_gaussian_data(schedule) -> None:
    z, noise = pair()
    mean, variance = 0.4, 0.3
    alpha_bar = schedule.alphas_cumprod[T].double().view(-1, 1, 1, 1)
    a, s = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    total = a**2 * variance + s**2
    # eps_hat - eps = s (a (z - mean) + s eps) / total - eps = (s a (z - mean) - a^2 variance eps) / total
    closed_form = s * (s * a * (z - mean) - a**2 * variance * noise) / total
    found = sds_gradient(alone(GaussianPredictor(mean, variance, schedule)), z, T, noise)
    torch.testing.assert_close(found, closed_form, atol=1e-6, rtol=1e-5)


def test_certain_data_pulls_straight_at_the_mean_whatever_the_noise(schedule) -> None:
    z, noise = pair()
    a, _ = schedule.signal_and_noise(T, z)
    found = sds_gradient(alone(GaussianPredictor(0.4, 0.0, schedule)), z, T, noise)
    torch.testing.assert_close(found, a * (z - 0.4), atol=1e-6, rtol=1e-5)


def test_guided_gradient_is_the_guided_gaussian(schedule) -> None:
    z, noise = pair()
    null, text = (Branch(str(m), GaussianPredictor(m, 0.3, schedule)) for m in (0.1, 0.3))
    guided = GuidedNoise(around(null, (text, 5.0)))
    far = alone(GaussianPredictor(0.1 + 5 * 0.2, 0.3, schedule))
    torch.testing.assert_close(sds_gradient(guided, z, T, noise), sds_gradient(far, z, T, noise))


def test_descent_finds_the_mean(schedule) -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(1, 2, 4, 4, generator=generator)
    noise_fn = alone(GaussianPredictor(mean, 0.05, schedule))
    z = torch.zeros(1, 2, 4, 4, requires_grad=True)
    optimizer = torch.optim.SGD([z], lr=0.1)
    for i in range(300):
        t = draw_timesteps(1, annealed_range(i / 300), schedule, generator)
        optimizer.zero_grad()
        sds_loss(noise_fn, z, t, torch.randn(z.shape, generator=generator)).backward()
        optimizer.step()
    assert (z - mean).abs().mean().item() < 0.05


@pytest.mark.parametrize(
    ("weighting", "w"),
    [
        ("sigma", lambda ab: (1 - ab) ** 0.5),
        ("one_minus_alpha_bar", lambda ab: 1 - ab),
        ("uniform", lambda ab: 1 + 0 * ab),
    ],
)
def test_weightings(schedule, weighting, w) -> None:
    z, noise = pair()
    noise_fn = alone(GaussianPredictor(0.4, 0.3, schedule))
    unweighted = noise_fn(schedule.add_noise(z, noise, T), T) - noise
    weight = w(schedule.alphas_cumprod[T].double()).view(-1, 1, 1, 1)
    found = sds_gradient(noise_fn, z, T, noise, weighting=weighting)
    torch.testing.assert_close(found, weight * unweighted, atol=1e-6, rtol=1e-5)


def test_each_sample_has_its_own_timestep(schedule) -> None:
    z, noise = pair()
    guided = GuidedNoise(
        around(
            Branch("null", GaussianPredictor(0.1, 0.3, schedule)),
            (Branch("text", GaussianPredictor(0.5, 0.2, schedule)), lambda t: 10 * t),
        )
    )
    together = sds_gradient(guided, z, T, noise)
    for i in range(3):
        one = slice(i, i + 1)
        torch.testing.assert_close(together[one], sds_gradient(guided, z[one], T[one], noise[one]))


def test_gradient_of_the_loss_is_the_gradient(schedule) -> None:
    z, noise = pair()
    z.requires_grad_()
    noise_fn = alone(GaussianPredictor(0.4, 0.3, schedule))
    choices: list[dict[str, Any]] = [
        {},
        {"weighting": "uniform", "clamp": 0.1},
        {"score": "csd"},
        {"score": "nfsd"},
        {"score": "vsd", "own": lambda x_t, t: 0.3 * x_t},
    ]
    for options in choices:
        z.grad = None
        sds_loss(noise_fn, z, T, noise, **options).backward()
        grad = sds_gradient(noise_fn, z, T, noise, **options)
        assert not grad.requires_grad
        torch.testing.assert_close(z.grad, grad)


def test_no_gradient_passes_through_the_denoiser(schedule) -> None:
    z, noise = pair()
    mean = torch.zeros(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    noise_fn = alone(GaussianPredictor(mean, 0.3, schedule))
    sds_loss(noise_fn, z.requires_grad_(), T, noise).backward()
    assert mean.grad is None


def test_dropping_the_base_leaves_the_classifier_score(schedule) -> None:
    z, noise = pair()
    null, text = (GaussianPredictor(m, 0.3, schedule) for m in (0.1, 0.3))
    guided = GuidedNoise(around(Branch("null", null), (Branch("text", text), 5.0)))
    x_t = schedule.add_noise(z, noise, T)
    delta = text.predict(x_t, T, [None])[0] - null.predict(x_t, T, [None])[0]
    found = sds_gradient(guided, z, T, noise, weighting="uniform", score="csd")
    torch.testing.assert_close(found, 5 * delta)


@pytest.mark.parametrize("score", sorted(SCORES))
def test_law_every_score_is_its_paper_s_formula(schedule, score: str) -> None:
    """On branches whose answers are known; timesteps on both sides of where noise-free distillation changes over."""
    z, noise = pair()
    null, text, ugly = (GaussianPredictor(m, v, schedule) for m, v in ((0.1, 0.3), (0.3, 0.2), (-0.4, 0.5)))
    guidance = around(Branch("null", null), (Branch("text", text), 5.0))
    guidance = noise_free(guidance, Branch("ugly", ugly)) if score == "nfsd" else guidance
    t = torch.tensor([int(share * len(schedule)) for share in (0.05, 0.2, 0.7)])
    x_t = schedule.add_noise(z, noise, t)
    e_0, e_c, e_u = (one.predict(x_t, t, [None])[0] for one in (null, text, ugly))
    noisy = (t >= 0.2 * len(schedule)).view(-1, 1, 1, 1)
    wanted = {
        "sds": e_0 + 5 * (e_c - e_0) - noise,
        "csd": 5 * (e_c - e_0),
        "nfsd": torch.where(noisy, e_0 - e_u, e_0) + 5 * (e_c - e_0),
        "vsd": e_0 + 5 * (e_c - e_0) - e_u,
    }[score]
    own: dict[str, Any] = {"own": lambda x_t, t: ugly.predict(x_t, t, [None])[0]} if score == "vsd" else {}
    found = sds_gradient(GuidedNoise(guidance), z, t, noise, weighting="uniform", score=score, **own)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(noise, torch.zeros_like(noise)) and float((e_0 - e_u).abs().max()) > 0.1


def test_the_classifier_score_of_a_bridge_is_the_difference_of_its_ends(schedule) -> None:
    z, noise = pair()
    asked: list[float] = []

    class Counted(GaussianPredictor):
        def predict(self, x_t: Any, t: Any, conditions: Any) -> Any:
            asked.append(float(self.mean))
            return super().predict(x_t, t, conditions)

    null, text, flawed = (Counted(m, 0.3, schedule) for m in (0.1, 0.3, -0.2))
    branches = Branch("null", null), Branch("text", text), Branch("flawed", flawed)
    x_t = schedule.add_noise(z, noise, T)
    delta = text.predict(x_t, T, [None])[0] - flawed.predict(x_t, T, [None])[0]
    asked.clear()
    found = sds_gradient(GuidedNoise(bridge(*branches, 2.0)), z, T, noise, weighting="uniform", score="csd")
    torch.testing.assert_close(found, 2 * delta)
    assert set(asked) == {0.3, -0.2}, "the base is not asked"


def test_scores_that_there_are_not_are_refused(schedule) -> None:
    z, noise = pair()
    with pytest.raises(ValueError, match=r"score is one of .*'csd', 'nfsd', 'sds', 'vsd'.*, not 'ism'"):
        sds_gradient(alone(GaussianPredictor(0.4, 0.3, schedule)), z, T, noise, score="ism")


def test_clamp_cuts_large_entries(schedule) -> None:
    z, noise = pair()
    noise_fn = alone(GaussianPredictor(0.4, 0.3, schedule))
    free = sds_gradient(noise_fn, z, T, noise)
    cut = sds_gradient(noise_fn, z, T, noise, clamp=0.2)
    assert free.abs().max() > 0.2
    assert torch.equal(cut, free.clamp(-0.2, 0.2))


@given(
    ends=st.lists(st.floats(0, 1), min_size=4, max_size=4).map(sorted),
    progress=st.floats(0, 1),
    swapped=st.booleans(),
)
def test_annealed_ranges_meet_their_ends_exactly_and_stay_between(ends, progress, swapped) -> None:
    low, high = (ends[0], ends[1]), (ends[2], ends[3])
    if swapped:
        low, high = low[::-1], high[::-1]
    assert annealed_range(0.0, low=low, high=high) == (low[0], high[0])
    assert annealed_range(1.0, low=low, high=high) == (low[1], high[1])
    now = annealed_range(progress, low=low, high=high)
    assert min(low) <= now[0] <= max(low) <= min(high) <= now[1] <= max(high)


def test_a_range_may_close_at_its_end() -> None:
    """0.9 + 1.0 * (0.3 - 0.9) is below 0.3."""
    assert annealed_range(1.0, low=(0.2, 0.3), high=(0.9, 0.3)) == (0.3, 0.3)
    for progress in np.linspace(0, 1, 1001).tolist():
        low, high = annealed_range(progress, low=(0.2, 0.3), high=(0.9, 0.3))
        assert low <= high
    assert annealed_range(0.7, low=(0.02, 0.02), high=(0.98, 0.98)) == (0.02, 0.98)


@given(progress=st.floats(0, 1), ends=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted))
def test_law_timesteps_by_the_square_root_fall_from_the_highest_to_the_lowest(progress, ends) -> None:
    low, high = ends
    now, same = TIMES["sqrt"](progress, (low, low), (high, 0.0))
    assert now == same == pytest.approx(high - (high - low) * progress**0.5, abs=1e-9)
    assert TIMES["sqrt"](0.0, (low, low), (high, high)) == (high, high)
    assert TIMES["sqrt"](1.0, (low, low), (high, high)) == (low, low)
    assert TIMES["random"](progress, (low, low), (high, high)) == annealed_range(
        progress, low=(low, low), high=(high, high)
    )


def test_annealed_range_and_drawn_timesteps(schedule) -> None:
    assert annealed_range(0.0, low=(0.4, 0.2), high=(0.85, 0.5)) == pytest.approx((0.4, 0.85))
    assert annealed_range(0.5, low=(0.4, 0.2), high=(0.85, 0.5)) == pytest.approx((0.3, 0.675))
    assert annealed_range(1.0, low=(0.4, 0.2), high=(0.85, 0.5)) == pytest.approx((0.2, 0.5))
    drawn = draw_timesteps(5000, (0.2, 0.3), schedule, torch.Generator().manual_seed(0))
    assert (drawn.min().item(), drawn.max().item()) == (200, 300)
    full = draw_timesteps(20000, (0.0, 1.0), schedule, torch.Generator().manual_seed(0))
    assert (full.min().item(), full.max().item()) == (0, 999)


def test_nonsense_is_refused(schedule) -> None:
    z, noise = pair()
    noise_fn = alone(GaussianPredictor(0.4, 0.3, schedule))
    with pytest.raises(ValueError, match="not 'snr'"):
        sds_gradient(noise_fn, z, T, noise, weighting="snr")
    with pytest.raises(ValueError, match="clamp must be positive"):
        sds_gradient(noise_fn, z, T, noise, clamp=0.0)
    with pytest.raises(ValueError, match="progress"):
        annealed_range(1.5)
    with pytest.raises(ValueError, match="low <= high"):
        annealed_range(0.0, low=(0.9, 0.9), high=(0.5, 0.5))


@pytest.mark.parametrize("length", [7, 100, 1000])
def test_the_ends_of_a_drawn_range_are_the_timesteps_meant(length) -> None:
    """k / T times T need not be k in floating point (0.29 * 100 < 29): cutting it off would draw its neighbour."""
    some = NoiseSchedule(torch.linspace(0.999, 0.001, length))
    generator = torch.Generator().manual_seed(0)
    for k in range(length):
        drawn = draw_timesteps(3, (k / length, k / length), some, generator)
        assert drawn.tolist() == [k] * 3
    assert draw_timesteps(3, (1.0, 1.0), some, generator).tolist() == [length - 1] * 3


def test_timesteps_are_drawn_evenly_with_both_ends(schedule) -> None:
    drawn = draw_timesteps(4400, (0.3, 0.31), schedule, torch.Generator().manual_seed(0))
    values, counts = drawn.unique(return_counts=True)
    assert values.tolist() == list(range(300, 311))
    assert counts.min() > 320 and counts.max() < 480  # 400 each, four standard deviations


def test_the_ends_of_all_ranges_belong_to_them() -> None:
    assert annealed_range(0.0, low=(0.0, 0.2), high=(1.0, 1.0)) == (0.0, 1.0)
    assert annealed_range(1.0, low=(0.25, 0.5), high=(1.0, 0.5)) == (0.5, 0.5)
    for progress in (-0.001, 1.001):
        with pytest.raises(ValueError, match="progress"):
            annealed_range(progress)
    for low, high in ((-0.001, 0.5), (0.5, 1.001), (0.5, 0.499)):
        with pytest.raises(ValueError, match="low <= high"):
            annealed_range(0.0, low=(low, low), high=(high, high))
