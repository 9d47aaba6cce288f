"""A perfect network has no loss, whatever it predicts, and is read by the same table that it was trained by."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slipcast.guidance.networks import UNetPredictor
from slipcast.guidance.schedules import PARAMETERISATIONS, NoiseSchedule
from slipcast.guidance.training import Example, draw_example

CLEAN = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def schedule() -> NoiseSchedule:
    return NoiseSchedule(torch.linspace(0.00085**0.5, 0.012**0.5, 1000).square().neg().add(1).cumprod(0))


class Perfect(nn.Module):
    """Knows the clean latents and answers by the definitions in the papers, not by our table."""

    def __init__(self, kind: str, alphas_cumprod: Tensor) -> None:
        super().__init__()
        self.kind, self.table = kind, alphas_cumprod
        self.config = SimpleNamespace(addition_embed_type=None)
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, t: Tensor, **told: Any) -> tuple[Tensor]:
        if self.kind == "flow_prediction":  # x = (1 - r) x0 + r eps at r = t / T (rectified flow)
            r = (t / len(self.table)).view(-1, 1, 1, 1)
            return ((x - (1 - r) * CLEAN) / r - CLEAN,)
        alpha_bar = self.table[t.long()].view(-1, 1, 1, 1)
        a, s = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        eps = (x - a * CLEAN) / s
        return ({"epsilon": eps, "v_prediction": a * eps - s * CLEAN, "sample": CLEAN}[self.kind],)


def predictor(kind: str, schedule: NoiseSchedule) -> UNetPredictor:
    return UNetPredictor(
        Perfect(kind, schedule.alphas_cumprod),
        schedule=schedule,
        prediction_type=kind,
        latent_space="toy",
        name="perfect",
    )


def example(kind: str, schedule: NoiseSchedule, seed: int = 0) -> Example:
    return draw_example(CLEAN, schedule, kind, torch.Generator().manual_seed(seed), shift=1.6)


@pytest.mark.parametrize("kind", sorted(PARAMETERISATIONS))
def test_a_perfect_network_has_no_loss_and_is_read_as_it_was_trained(kind, schedule) -> None:
    perfect, text = predictor(kind, schedule), torch.zeros(1, 2, 3)
    assert perfect.loss(example(kind, schedule), text) < 1e-6
    plain = example("epsilon", schedule)  # the same draw: it is shown x_t and should answer eps
    torch.testing.assert_close(
        perfect.predict(plain.x, plain.t, [text])[0], plain.target, atol=2e-3, rtol=2e-3
    )
    for other in PARAMETERISATIONS.keys() - {kind}:
        assert perfect.loss(example(other, schedule), text) > 0.1, other


@pytest.mark.parametrize("kind", sorted(PARAMETERISATIONS))
def test_the_answer_and_eps_are_inverse_to_each_other(kind, schedule) -> None:
    t = torch.tensor([0, 10, 300, 500, 800, 999])
    x_t, eps = torch.randn(2, 6, 4, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    line = PARAMETERISATIONS[kind]
    torch.testing.assert_close(line.to_eps(schedule, x_t, line.from_eps(schedule, x_t, eps, t), t), eps)


def test_timesteps_are_stratified_and_shifted_as_the_formula_says(schedule) -> None:
    many = torch.zeros(1000, 1, 1, 1)
    t = draw_example(many, schedule, "epsilon", torch.Generator().manual_seed(0), shift=3.0).t.sort().values
    u = (torch.arange(1000) + 0.5) / 1000
    assert (t - 1000 * 3 * u / (1 + 2 * u)).abs().max() < 4
    assert draw_example(many, schedule, "epsilon", torch.Generator().manual_seed(0)).t.float().mean() == (
        pytest.approx(499.5, abs=1)
    )


def test_the_loss_is_the_mean_square_and_reaches_the_network_and_what_it_is_told(tiny_unet, schedule) -> None:
    one = Example(torch.zeros(2, 1, 1, 1), torch.zeros(2), torch.tensor([1.0, -3.0]).view(2, 1, 1, 1))
    assert one.loss(torch.zeros(2, 1, 1, 1)) == 5.0
    text = torch.randn(1, 5, 12, generator=torch.Generator().manual_seed(1)).requires_grad_()
    told = UNetPredictor(
        tiny_unet, schedule=schedule, prediction_type="sample", latent_space="toy", name="tiny"
    )
    told.loss(example("sample", schedule), text).backward()
    assert text.grad is not None
    assert text.grad.abs().sum() > 0
