"""A straight path satisfies the ``Schedule`` protocol: a flow family needs no other change in guidance or training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from slipcast.guidance import NoiseSchedule, Schedule
from slipcast.guidance.networks import UNetPredictor
from slipcast.guidance.schedules import PARAMETERISATIONS
from slipcast.guidance.training import draw_example, example_of


class StraightPath(Schedule):
    """x_t = (1 - r) x0 + r eps, r = shift u / (1 + (shift - 1) u) for u = (t + 1) / T: Stable Diffusion 3's."""

    def __init__(self, shift: float, steps: int = 1000) -> None:
        u = torch.arange(1, steps + 1) / steps
        self.r = shift * u / (1 + (shift - 1) * u)

    def __len__(self) -> int:
        return len(self.r)

    def matches(self, other: Schedule) -> bool:
        return isinstance(other, StraightPath) and torch.equal(self.r, other.r)

    def alpha_bar(self, t: Tensor) -> Tensor:
        r = self.r[t.long()]
        return (1 - r).square() / ((1 - r).square() + r.square())

    def signal_and_noise(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        r = self.r[t.long()].view(-1, *[1] * (like.ndim - 1)).to(like.dtype)
        return 1 - r, r

    def nearest_timestep(self, alpha_bar: Tensor) -> Tensor:
        return (self.alpha_bar(torch.arange(len(self)))[None] - alpha_bar[:, None]).abs().argmin(1)


PATH = StraightPath(3.0)
T = torch.tensor([0, 4, 300, 700, 998])


def latents(seed: int) -> Tensor:
    return torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def theirs() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=3.0)


def test_its_noise_and_the_time_that_a_network_is_told_are_diffusers(theirs) -> None:
    x0, eps = latents(0), latents(1)
    told = theirs.timesteps.flip(0)[T]  # from clean to noisy, as ours
    x_t = PATH.add_noise(x0, eps, T)
    torch.testing.assert_close(x_t, theirs.scale_noise(x0, told, eps), atol=1e-6, rtol=1e-6)
    example = example_of(x0, eps, T, PATH, "flow_prediction")
    torch.testing.assert_close(example.x, x_t, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(example.t, told, atol=1e-3, rtol=0)
    torch.testing.assert_close(example.target, eps - x0, atol=1e-2, rtol=1e-4)  # divided by a = 1 - r


def test_a_flow_networks_answer_becomes_the_noise_that_was_added() -> None:
    x0, eps = latents(0), latents(1)
    x_t = PATH.add_noise(x0, eps, T)
    found = PARAMETERISATIONS["flow_prediction"].to_eps(PATH, x_t, eps - x0, T)
    torch.testing.assert_close(found, eps, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(PATH.x0_from_eps(x_t, found, T)[:4], x0[:4], atol=1e-4, rtol=1e-4)
    assert PATH.nearest_timestep(PATH.alpha_bar(T)).tolist() == T.tolist()


def test_a_predictor_on_a_straight_path() -> None:
    """A network that knows x0 = 0 answers u = x / r; shown x and 1000 r, it is read as eps = x_t / r."""

    class Network(torch.nn.Module):
        config = SimpleNamespace()

        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor, t: Tensor, encoder_hidden_states: Any, return_dict: bool) -> Any:
            return (x / (t / 1000).view(-1, 1, 1, 1),)

    options = dict(schedule=PATH, prediction_type="flow_prediction", latent_space="toy", name="toy")
    predictor = UNetPredictor(Network(), **options)  # pyright: ignore[reportArgumentType]
    predictor.takes_text = False
    x_t = latents(2)
    (eps,) = predictor.predict(x_t, T, [None])
    torch.testing.assert_close(eps, x_t / PATH.r[T].view(-1, 1, 1, 1), atol=1e-4, rtol=1e-4)
    example = draw_example(latents(3) * 0, PATH, "flow_prediction", torch.Generator().manual_seed(0))
    assert predictor.loss(example, None).item() == pytest.approx(0, abs=1e-8)


def test_it_is_not_mixed_with_another_schedule() -> None:
    betas = torch.linspace(1e-4, 2e-2, 1000)
    preserving = NoiseSchedule((1 - betas).cumprod(0))
    assert not PATH.matches(preserving) and not preserving.matches(PATH)
    assert not PATH.matches(StraightPath(1.0)) and PATH.matches(StraightPath(3.0))
