"""Settings that change over the steps of a refinement, seen in what its steps do."""

import dataclasses
import math

import pytest
import torch
from fakes.refinements import BUSY, QUIET, PaintedOneColour, grey_ball, refine, same
from torch.optim.optimizer import register_optimizer_step_pre_hook


def losses_of(config):
    seen = []
    refine(config, progress=lambda done, total, losses: seen.append(losses))
    return seen


def test_weights_follow_their_schedules():
    """Of a ball that does not move: every loss is its weight times one number."""
    still = dataclasses.replace(QUIET, steps=6, lr_density=0.0, lr_color=0.0, sharpness=1.0)
    named = {
        "shape variation": "tv_weight",
        "colour variation": "tv_color_weight",
        "indecision": "indecision_weight",
    }
    steady = losses_of(dataclasses.replace(still, **{key: [1.0, 1.0, 1] for key in named.values()}))
    changing = losses_of(dataclasses.replace(still, **{key: [1, 0.0, 8.0, 5] for key in named.values()}))
    for index, weight in enumerate((0.0, 0.0, 2.0, 4.0, 6.0, 8.0)):
        for name in named:
            assert changing[index][name] == pytest.approx(weight * steady[0][name], rel=1e-5), (index, name)


def test_a_schedule_says_all_that_a_weight_does_over_the_run():
    """Drift fades by itself and indecision rises; on a schedule neither does."""
    moving = dataclasses.replace(BUSY, drift_weight=[1.0, 1.0, 1], indecision_weight=[2.0, 2.0, 1])
    own = dataclasses.replace(BUSY, drift_weight=1.0, indecision_weight=2.0)
    # Measured on the same field at step 1 only if nothing else differs before; so on the first step and by formula.
    first, plain = (
        losses_of(dataclasses.replace(moving, steps=1)),
        losses_of(dataclasses.replace(own, steps=1)),
    )
    assert plain[0]["indecision"] == 0.0 < first[0]["indecision"]


def test_learning_rates_follow_their_schedules_after_the_warm_up():
    seen = []
    handle = register_optimizer_step_pre_hook(
        lambda optimiser, *_: seen.append([group["lr"] for group in optimiser.param_groups])
    )
    try:
        refine(dataclasses.replace(QUIET, steps=14, lr_density=[0.2, 0.2, 1], lr_color=[10, 0.1, 0.5, 12]))
    finally:
        handle.remove()
    assert [rates[0] for rates in seen] == pytest.approx([0.02 * min(10, i + 1) for i in range(14)])
    assert [rates[1] for rates in seen[9:]] == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.5])


def test_the_range_of_noise_follows_its_schedules():
    seen = []

    class Noted(PaintedOneColour):
        def __call__(self, x_t, t):
            seen.append(t.tolist())
            return super().__call__(x_t, t)

    config = dataclasses.replace(
        QUIET, steps=6, distillation_weight=1.0, t_min=[0.9, 0.1, 5], t_max=[0.9, 0.1, 5], t_max_end=0.0
    )
    refine(config, denoiser_for=Noted)
    assert [one for one, _ in seen] == [90, 74, 58, 42, 26, 10], "t / T in a hundred steps"


def test_the_square_root_asks_one_noise_fraction_of_all_views():
    seen = []

    class Noted(PaintedOneColour):
        def __call__(self, x_t, t):
            seen.append(t.tolist())
            return super().__call__(x_t, t)

    config = dataclasses.replace(
        QUIET, steps=4, distillation_weight=1.0, t_min=0.1, t_max=0.9, timesteps="sqrt"
    )
    refine(config, denoiser_for=Noted)
    assert seen == [[round(90 - 80 * (step / 4) ** 0.5)] * 2 for step in range(4)]


def test_a_denoiser_that_changes_over_the_steps_is_asked_as_it_is_at_each():
    told = []

    class Changes:
        def __call__(self, words, grounds):
            return PaintedOneColour(words, grounds)

        def at(self, step, azimuths_rad):
            told.append((step, azimuths_rad))
            return self

    refine(dataclasses.replace(QUIET, steps=3, distillation_weight=1.0), denoiser_for=Changes())
    assert [step for step, _ in told] == [0, 1, 2]
    for _, (one, other) in told:
        assert abs(math.remainder(one - other - math.pi, 2 * math.pi)) < 1e-5, "opposite views"


def test_gradients_are_cut_and_distillation_is_left_out_by_schedule():
    config = dataclasses.replace(
        QUIET, steps=4, distillation_weight=[1, 0.0, 1.0, 2], grad_clamp=[2, 1e-3, 1e-2, 3]
    )
    losses = losses_of(config)
    assert ["distillation" in one for one in losses] == [False, False, True, True]
    for index, clamp in ((2, 1e-3), (3, 1e-2)):
        assert 0.1 * clamp**2 < losses[index]["distillation"] <= 0.5 * clamp**2 * 1.001


def test_a_schedule_that_stays_is_the_number():
    names = (
        "t_min",
        "distillation_weight",
        "anchor_rgb_weight",
        "anchor_alpha_weight",
        "tv_weight",
        "grad_clamp",
    )
    stays = {name: [3, getattr(BUSY, name), getattr(BUSY, name), 4] for name in names}
    assert same(refine(dataclasses.replace(BUSY, **stays)), refine(BUSY))
    assert torch.isfinite(grey_ball().occupancy).all()
