"""What a training needs, counted on networks without numbers; Stable Diffusion 1.5 by its config alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from slipcast.configs.errors import BadInput
from slipcast.guidance.networks import UNetPredictor
from slipcast.guidance.null_text import empty_null_text
from slipcast.guidance.schedules import NoiseSchedule
from slipcast.guidance.training import Example
from slipcast.systems.training.budget import Budget
from slipcast.systems.training.memory import GB, Activations, activations_of, fitted, memory_of

PAPER = Budget(steps=1, batch=32, optimizer="adamw", learning_rate=1e-5, workers=1, device="cuda")


def test_what_autograd_keeps_of_a_chain_is_known() -> None:
    """y = W2 gelu(W1 x): x, W1 x and gelu's answer, of 4 bytes a number; the weights are there anyway."""
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))
        x = torch.empty(5, 8)
    found = activations_of(network, lambda: network(x).sum(), fused=False)
    assert found.kept == 4 * (5 * 8 + 5 * 32 + 5 * 32)


def test_moments_masters_and_averages_by_hand() -> None:
    with torch.device("meta"):
        network = nn.Linear(1000, 1000, bias=False).to(torch.bfloat16)
    m, full = memory_of(network, PAPER, 0), 10**6
    assert (m.weights, m.masters, m.gradients, m.moments, m.averages) == (
        2 * full, 4 * full, 2 * full, 8 * full, 4 * full,
    )  # fmt: skip
    spare = Budget(**{**vars(PAPER), "optimizer": "adamw8bit", "ema_on_cpu": True, "accumulate": 2})
    m = memory_of(network, spare, 0)
    assert (m.gradients, m.averages) == (4 * full, 0)
    assert m.moments == pytest.approx(2.03 * full, rel=0.01)


@pytest.fixture(scope="module")
def sd15() -> tuple[Any, Any]:
    """The null-text network of Stable Diffusion 1.5, whose config is diffusers' default but for two lines."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        config = dict(UNet2DConditionModel(cross_attention_dim=768, sample_size=64).config)
    network = empty_null_text(config).requires_grad_(True).to(torch.bfloat16).train()
    assert sum(one.numel() for one in network.parameters()) == 815_533_444
    schedule = NoiseSchedule(torch.linspace(0.99, 0.01, 10))
    predictor = UNetPredictor(
        network, schedule=schedule, prediction_type="epsilon", latent_space="", name="sd15"
    )

    def activations(batch: int) -> Activations:
        x = torch.empty(batch, 4, 64, 64, device="meta")
        t = torch.zeros(batch, dtype=torch.long, device="meta")
        return activations_of(
            network, lambda: predictor.loss(Example(x, t, torch.empty_like(x)), None), fused=True
        )

    return network, activations


def test_stable_diffusion_fits_into_12_gb_and_says_how(sd15: tuple[Any, Any]) -> None:
    network, activations = sd15
    choice = fitted(network, PAPER, activations, 12 * GB)
    assert choice.memory.total <= 12 * GB
    assert choice.checkpointing and choice.budget.optimizer == "adamw8bit"
    assert choice.budget.batch * choice.budget.accumulate == 32
    assert choice.budget.learning_rate == 1e-5
    assert "8 bits" in choice.sentence()
    large = fitted(network, PAPER, activations, 80 * GB)
    assert large.budget.optimizer == "adamw" and large.budget.accumulate <= 2
    with pytest.raises(BadInput, match=r"4\.0GB is too little for this base: the least is \d+\.\d GB"):
        fitted(network, PAPER, activations, 4 * GB)


def test_activations_grow_with_the_batch_and_checkpoints_save_most_of_them(sd15: tuple[Any, Any]) -> None:
    _, activations = sd15
    one, four = activations(1), activations(4)
    assert four.kept == pytest.approx(4 * one.kept, rel=0.02)
    assert one.checkpointed < 0.45 * one.kept
