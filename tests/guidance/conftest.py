"""Small things that several guidance tests need: a schedule, predictors with known answers, tiny networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from slipcast.guidance import Branch, NoiseSchedule


class Constant:
    """Always says the same noise (times the condition, if any), and counts its forwards and their rows."""

    def __init__(self, eps: Tensor, schedule: NoiseSchedule, latent_space: str = "toy") -> None:
        self.eps, self.schedule, self.latent_space, self.name = eps, schedule, latent_space, "constant"
        self.rows: list[int] = []

    def predict(self, x_t: Tensor, t: Tensor, conditions: Any) -> list[Tensor]:
        self.rows.append(len(x_t) * len(conditions))
        return [(self.eps + 0 * x_t) * (1 if c is None else c) for c in conditions]


@pytest.fixture(scope="session")
def schedule() -> NoiseSchedule:
    """Stable Diffusion's: sqrt(beta) linear from sqrt(0.00085) to sqrt(0.012)."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return NoiseSchedule(torch.cumprod(1 - betas, 0))


@pytest.fixture
def branches(schedule: NoiseSchedule) -> Callable[[int], list[Branch]]:
    """n branches a, b, c ... that say different random constants of shape [1, 2, 3, 3]."""

    def make(count: int) -> list[Branch]:
        values = torch.randn(
            count, 1, 2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64
        )
        return [Branch("abcdefgh"[i], Constant(values[i], schedule)) for i in range(count)]

    return make


@pytest.fixture(scope="session")
def tiny_unet() -> Any:
    """A random text-conditional UNet of a few thousand parameters: latents [B, 4, 8, 8], text width 12."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
    ).eval()


@pytest.fixture(scope="module")
def in_float64() -> Iterator[None]:
    """New tensors and networks are float64, in which equality is not blurred by rounding.

    diffusers' own float32 runs differ by some 1e-5 from its float64 ones, and from one processor to another.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
