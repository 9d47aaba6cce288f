"""Conversions between what networks predict, and agreement with diffusers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from slipcast.configs.errors import BadInput
from slipcast.guidance import NoiseSchedule, from_diffusers
from slipcast.guidance.schedules import PARAMETERISATIONS

T = torch.tensor([0, 1, 250, 700, 999])


def random_latents(seed: int) -> torch.Tensor:
    return torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outputs(schedule: NoiseSchedule, x0: torch.Tensor, eps: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a perfect network of each kind would say, from the definitions."""
    a, s = schedule.signal_and_noise(T, x0)
    return {"epsilon": eps, "sample": x0, "v_prediction": a * eps - s * x0, "flow_prediction": eps - x0}


@pytest.mark.parametrize("kind", sorted(PARAMETERISATIONS))
def test_every_parameterisation_comes_back_as_the_noise_that_was_added(schedule, kind) -> None:
    x0, eps = random_latents(0), random_latents(1)
    x_t = schedule.add_noise(x0, eps, T)
    found = PARAMETERISATIONS[kind].to_eps(schedule, x_t, outputs(schedule, x0, eps)[kind], T)
    torch.testing.assert_close(found, eps, atol=1e-4, rtol=0)


def test_round_trips(schedule) -> None:
    x_t, eps = random_latents(0), random_latents(1)
    for there, back in [
        (schedule.v_from_eps, schedule.eps_from_v),
        (schedule.x0_from_eps, schedule.eps_from_x0),
        (schedule.flow_from_eps, schedule.eps_from_flow),
    ]:
        torch.testing.assert_close(back(x_t, there(x_t, eps, T), T), eps, atol=1e-5, rtol=0)


def test_flow_coordinates_lie_on_the_straight_path(schedule) -> None:
    x0, eps = random_latents(0), random_latents(1)
    x, time = schedule.flow_coordinates(schedule.add_noise(x0, eps, T), T)
    r = (time / len(schedule)).view(-1, 1, 1, 1)
    torch.testing.assert_close(x, (1 - r) * x0 + r * eps)


def test_agrees_with_diffusers() -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False
    )
    schedule = from_diffusers(scheduler)
    t: Any = T  # diffusers asks for an IntTensor by name
    x0, eps = random_latents(0).float(), random_latents(1).float()
    torch.testing.assert_close(schedule.add_noise(x0, eps, T), scheduler.add_noise(x0, eps, t))
    v = scheduler.get_velocity(x0, eps, t)
    torch.testing.assert_close(schedule.eps_from_v(scheduler.add_noise(x0, eps, t), v, T), eps)


def test_results_keep_the_dtype_of_the_latents(schedule) -> None:
    for dtype in (torch.float32, torch.float64):
        x = random_latents(0).to(dtype)
        assert schedule.add_noise(x, x, T).dtype == schedule.eps_from_v(x, x, T).dtype == dtype


def test_fractional_timesteps_lie_between_their_neighbours(schedule) -> None:
    whole = torch.tensor([0.0, 500.0, 999.0])
    assert torch.equal(schedule.alpha_bar(whole), schedule.alpha_bar(whole.long()))
    between = schedule.alpha_bar(torch.tensor([500.25]))
    assert schedule.alpha_bar(torch.tensor([501])) < between < schedule.alpha_bar(torch.tensor([500]))


def test_nearest_timestep_inverts_alpha_bar(schedule) -> None:
    assert torch.equal(schedule.nearest_timestep(schedule.alpha_bar(T)), T)


@pytest.mark.parametrize("bad", [[], [0.9, 0.95], [0.9, 0.0], [1.0, 0.5], [[0.9, 0.5]]])
def test_nonsense_is_refused(bad) -> None:
    with pytest.raises(ValueError, match="alphas_cumprod"):
        NoiseSchedule(torch.tensor(bad))


def test_zero_terminal_snr_and_other_flow_schedulers_are_refused_in_a_sentence() -> None:
    from diffusers import DDIMScheduler, FlowMatchHeunDiscreteScheduler

    with pytest.raises(BadInput, match="rescale_betas_zero_snr=False"):
        from_diffusers(DDIMScheduler(rescale_betas_zero_snr=True))
    with pytest.raises(BadInput, match="FlowMatchHeunDiscreteScheduler has no alphas_cumprod"):
        from_diffusers(FlowMatchHeunDiscreteScheduler())


@pytest.mark.parametrize("at", [0, 300, 700, 999])
def test_schedules_match_up_to_rounding_and_no_further(schedule, at) -> None:
    """At every timestep, the last ones too, where alpha_bar itself is some thousandths."""
    table = schedule.alphas_cumprod.double()

    def altered(share: float) -> NoiseSchedule:
        other = table.clone()
        if at < 999:  # so that the table goes on falling: from there on
            other[at:] *= 1 - share
        else:
            other[at] *= 1 - share
        return NoiseSchedule(other)

    assert schedule.matches(schedule) and schedule.matches(altered(1e-6))
    for share in (1e-3, 1e-2, 0.5):
        assert not schedule.matches(altered(share)) and not altered(share).matches(schedule)
    assert not schedule.matches(NoiseSchedule(table[:-1]))
