"""A training on another device: gradients, masters and averages meet where the network is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from fakes.accelerator import ACCELERATOR
from fakes.training_tasks import TRUTH, Regression
from torch import Tensor, nn

from slipcast.systems.training.loop import Budget, train


class Moved(Regression):
    """``Regression`` with its pictures, so to speak, brought to the network's device."""

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        self.net, self.device = modules["net"], device

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        x = torch.randn(batch, self.width, generator=generator)
        wanted = x @ TRUTH[:, : self.width].T
        return (
            (
                self.net(x.to(self.device, self.net.get_parameter("weight").dtype)).float()
                - wanted.to(self.device)
            )
            .square()
            .mean()
        )


def test_the_trainer_learns_there_what_it_learns_here(tmp_path: Path) -> None:
    def weights(device: str) -> Tensor:
        budget = Budget(
            steps=5, workers=1, learning_rate=0.02, warmup_steps=2, device=device, optimizer="adamw"
        )
        return train(Moved(), tmp_path / device, budget, label="test")["net"].get_parameter("weight").detach()

    there, here = weights(ACCELERATOR), weights("cpu")
    assert there.device.type == "cpu", "a trained network comes back"
    torch.testing.assert_close(there, here, rtol=0, atol=1e-2)
