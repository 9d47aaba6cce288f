"""The straight path of flow models against diffusers' scheduler, in closed form, and through predictors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from slipcast.configs.errors import BadInput
from slipcast.guidance import (
    FluxPredictor,
    GaussianPredictor,
    GuidedNoise,
    NoiseSchedule,
    SD3Predictor,
    StraightPath,
)
from slipcast.guidance.algebra import Branch, Guidance
from slipcast.guidance.conditioning import Conditioning
from slipcast.guidance.distillation import sds_gradient
from slipcast.guidance.networks import UNetPredictor
from slipcast.guidance.sampling import sample
from slipcast.guidance.schedulers import flow_scheduler_named, scheduler_named
from slipcast.guidance.schedules import PARAMETERISATIONS, from_diffusers
from slipcast.guidance.training import distilled, draw_example, example_of

PATH = StraightPath()
T = torch.tensor([0, 4, 300, 700, 999])


def latents(seed: int) -> Tensor:
    return torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def theirs() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=1.0)


def test_its_noise_and_the_time_that_a_network_is_told_are_diffusers(theirs) -> None:
    x0, eps = latents(0), latents(1)
    told = theirs.timesteps.flip(0)[T]  # from clean to noisy, as ours
    x_t = PATH.add_noise(x0, eps, T)
    # A millionth of x0 is left at the last timestep, where they have none.
    torch.testing.assert_close(x_t, theirs.scale_noise(x0, told, eps), atol=1e-5, rtol=1e-6)
    example = example_of(x0, eps, T, PATH, "flow_prediction")
    torch.testing.assert_close(example.x, x_t, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(example.t.to(told), told, atol=1e-3, rtol=0)
    torch.testing.assert_close(example.target, eps - x0, atol=1e-6, rtol=1e-6)  # where a = 1 - s is 0, too


def test_a_flow_networks_answer_becomes_the_noise_that_was_added() -> None:
    x0, eps = latents(0), latents(1)
    x_t = PATH.add_noise(x0, eps, T)
    found = PARAMETERISATIONS["flow_prediction"].to_eps(PATH, x_t, eps - x0, T)
    torch.testing.assert_close(found, eps, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(PATH.x0_from_eps(x_t, found, T)[:4], x0[:4], atol=1e-4, rtol=1e-4)
    wide = PATH.add_noise(x0.double(), eps.double(), T)
    torch.testing.assert_close(PATH.x0_from_eps(wide, eps.double(), T), x0.double(), atol=1e-8, rtol=1e-8)
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
    torch.testing.assert_close(eps, x_t / PATH.signal_and_noise(T, x_t)[1], atol=1e-4, rtol=1e-4)
    example = draw_example(latents(3) * 0, PATH, "flow_prediction", torch.Generator().manual_seed(0))
    assert predictor.loss(example, None).item() == pytest.approx(0, abs=1e-8)


def test_it_is_not_mixed_with_another_schedule() -> None:
    betas = torch.linspace(1e-4, 2e-2, 1000)
    preserving = NoiseSchedule((1 - betas).cumprod(0))
    assert not PATH.matches(preserving) and not preserving.matches(PATH)
    assert not PATH.matches(StraightPath(500)) and PATH.matches(StraightPath())


class Perfect(torch.nn.Module):
    """A network of either family that knows x0 = 0, so that v = x / s; it hears s times ``scale``."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale, self.config = scale, {"guidance_embeds": False}
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, *, timestep: Tensor, return_dict: bool, **told: Any) -> tuple[Tensor]:
        return (x / (timestep / self.scale).view(-1, *[1] * (x.ndim - 1)),)


@pytest.mark.parametrize(("kind", "scale"), [(SD3Predictor, 1000.0), (FluxPredictor, 1.0)])
def test_a_perfect_network_has_no_loss_and_needs_one_step(kind: Any, scale: float, theirs) -> None:
    options = dict(schedule=PATH, prediction_type="flow_prediction", latent_space="toy", name="toy")
    predictor = kind(Perfect(scale), **options)
    told = Conditioning(text=torch.zeros(1, 3, 4), pooled=torch.zeros(1, 4))
    for seed in range(20):
        example = draw_example(latents(3) * 0, PATH, "flow_prediction", torch.Generator().manual_seed(seed))
        assert predictor.loss(example, told).item() == pytest.approx(0, abs=1e-9)
        eps = predictor.predict(*example.asked, [told])[0]
        same = distilled(example, eps, eps, 3.0, PATH, "flow_prediction")
        torch.testing.assert_close(same.target, example.target, atol=1e-6, rtol=1e-6)
    guided = GuidedNoise(Guidance(Branch("null", predictor, told), ()))
    for steps in (1, 4):
        found = sample(guided, flow_scheduler_named("euler", theirs), latents(4), steps=steps)
        torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-5, rtol=0)


def test_the_sampler_ends_where_the_flow_of_a_gaussian_ends(theirs) -> None:
    """dx/ds = v keeps the number of sigmas: x(0) = m + d n, for data of mean m and deviation d and noise n."""
    mean, deviation = 0.7, 0.4
    predictor = GaussianPredictor(mean, deviation**2, PATH)
    noise = latents(5).double()
    found = sample(
        GuidedNoise(Guidance(Branch("data", predictor, None), ())),
        flow_scheduler_named("euler", theirs),
        noise,
        steps=1000,
    )
    torch.testing.assert_close(found, mean + deviation * noise, atol=5e-3, rtol=0)


def test_distillation_with_its_weight_is_rectified_flow_distillation() -> None:
    """RFDS: v_hat - (eps - x0), here of Gaussian data, whose v is known in closed form."""
    mean, variance = 0.3, 0.25
    guided = GuidedNoise(Guidance(Branch("data", GaussianPredictor(mean, variance, PATH), None), ()))
    z, eps, t = latents(6).double(), latents(7).double(), torch.tensor([19, 200, 500, 800, 979])
    s = ((t.double() + 1) / 1000).view(-1, 1, 1, 1)
    x_s = (1 - s) * z + s * eps
    total = (1 - s) ** 2 * variance + s**2
    x0_hat = mean + (1 - s) * variance / total * (x_s - (1 - s) * mean)
    v_hat = (x_s - x0_hat) / s
    found = sds_gradient(guided, z, t, eps, weighting="rectified_flow")
    torch.testing.assert_close(found, v_hat - (eps - z), atol=1e-6, rtol=1e-6)


def test_the_same_weight_on_other_schedules_is_the_flow_through_the_same_noise() -> None:
    betas = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    preserving = NoiseSchedule((1 - betas).cumprod(0))
    guided = GuidedNoise(Guidance(Branch("data", GaussianPredictor(0.3, 0.25, preserving), None), ()))
    z, eps, t = latents(6).double(), latents(7).double(), torch.tensor([19, 200, 500, 800, 979])
    x_t = preserving.add_noise(z, eps, t)
    flow = preserving.flow_from_eps(x_t, guided(x_t, t), t) - (eps - z)
    found = sds_gradient(guided, z, t, eps, weighting="rectified_flow")
    torch.testing.assert_close(found, flow, atol=1e-5, rtol=1e-5)


def test_samplers_of_one_kind_are_not_for_the_other(theirs) -> None:
    from diffusers import DDIMScheduler

    data = GuidedNoise(Guidance(Branch("data", GaussianPredictor(0.0, 1.0, PATH), None), ()))
    betas = torch.linspace(1e-4, 2e-2, 1000)
    preserving = GaussianPredictor(0.0, 1.0, NoiseSchedule((1 - betas).cumprod(0)))
    for refused, sentence in (
        (lambda: flow_scheduler_named("unipc", theirs), "unipc is not for flow models, .* choose euler"),
        (lambda: flow_scheduler_named("eulr", theirs), "did you mean euler"),
        (
            lambda: sample(data, scheduler_named("ddim", DDIMScheduler()), latents(1), steps=2),
            "is not that of the model",
        ),
        (
            lambda: sample(
                GuidedNoise(Guidance(Branch("data", preserving, None), ())),
                flow_scheduler_named("euler", theirs), latents(1), steps=2,
            ),
            "a straight path of 1000 timesteps.* is not that of the model",
        ),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=sentence):
            refused()
    assert from_diffusers(theirs).matches(PATH)
