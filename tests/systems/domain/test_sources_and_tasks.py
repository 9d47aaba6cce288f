"""A network that knows the truth has no loss, whatever it is asked to answer; latents come back as they were made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slipcast.guidance.conditioning import Condition, Conditioning
from slipcast.guidance.networks import UNetPredictor
from slipcast.guidance.null_text import NullTextAttention
from slipcast.guidance.schedules import NoiseSchedule, parameterisation_named
from slipcast.guidance.training import distilled, draw_example
from slipcast.systems.domain.held_out import verdict
from slipcast.systems.domain.tasks import DenoisingTask

TRUTH = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(3))
SCHEDULE = NoiseSchedule(torch.linspace(0.999, 0.005, 50))


class Perfect(nn.Module):
    """Knows the one picture that there is: it answers eps, v or x0 of every x_t without a fault."""

    config = SimpleNamespace()

    def __init__(self, kind: str, fault: float = 0.0) -> None:
        super().__init__()
        self.kind, self.fault = kind, nn.Parameter(torch.tensor(fault))
        self.block = NullTextAttention(torch.zeros(1, 1, 1))  # takes no text

    def forward(
        self, x: Tensor, t: Tensor, encoder_hidden_states: Any = None, return_dict: bool = False
    ) -> Any:
        a, s = SCHEDULE.signal_and_noise(t, x)
        eps = (x - a * TRUTH) / s
        return (parameterisation_named(self.kind).from_eps(SCHEDULE, x, eps, t) + self.fault,)


@dataclass
class OnePicture:
    def open(self, device: str) -> OnePicture:
        return self

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Condition]:
        return TRUTH.expand(batch, -1, -1, -1), Conditioning()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_network_has_no_loss(kind: str) -> None:
    task = DenoisingTask(Path(), Perfect, UNetPredictor, OnePicture(), SCHEDULE, kind, "latents", 1.6)  # pyright: ignore
    for fault, loss in ((0.0, 0.0), (0.1, 0.01)):
        task.open({"unet": Perfect(kind, fault)}, "cpu")
        found = task.loss(16, torch.Generator().manual_seed(0)).item()
        assert found == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_guidance_goes_into_the_answer(kind: str) -> None:
    """Of a network whose eps is 0.3 above the truth and a prior 0.1 below it: truth + (w - 1) 0.4, in eps."""
    generator = torch.Generator().manual_seed(0)
    example = draw_example(TRUTH.expand(5, -1, -1, -1), SCHEDULE, kind, generator)
    way = parameterisation_named(kind)
    eps = way.to_eps(SCHEDULE, example.x, example.target, example.t)
    guided = distilled(example, eps + 0.3, eps - 0.1, 1.5, SCHEDULE, kind)
    found = way.to_eps(SCHEDULE, guided.x, guided.target, guided.t)
    torch.testing.assert_close(found, eps + 0.2, rtol=0, atol=1e-4)
    assert torch.equal(guided.x, example.x)
    same = distilled(example, eps + 0.3, eps - 0.1, 1.0, SCHEDULE, kind)
    torch.testing.assert_close(same.target, example.target, rtol=0, atol=1e-3)


def test_the_verdict_compares_pair_by_pair() -> None:
    start = [1.0, 9.0, 3.0, 5.0]
    better = verdict([start, [one * 0.99 - 0.001 * i for i, one in enumerate(start)]])
    assert better.learning and better.gain == pytest.approx(0.01, abs=0.002)
    assert not verdict([start, [1.1, 8.9, 3.1, 4.9]]).learning
    assert verdict([start, better_than(start), start, start]).since_best == 2


def better_than(losses: list[float]) -> list[float]:
    return [0.5 * one for one in losses]
