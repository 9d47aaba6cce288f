"""Latents in the network's scale and shift, as diffusers' pipelines have them; NaN is never a picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.systems.models.codec import Codec

MEAN, STD = [0.1, -0.2, 0.3, 0.0], [1.0, 2.0, 0.5, 1.5]


def codec(**config: Any) -> Codec:
    torch.manual_seed(0)
    vae = tiny.vae()
    vae.register_to_config(**config)
    return Codec(vae, "toy")


@pytest.mark.parametrize(
    ("config", "mean", "spread"),
    [
        ({}, 0.0, 1 / 0.18215),
        ({"shift_factor": 0.1159, "scaling_factor": 0.3611}, 0.1159, 1 / 0.3611),
        (
            {"latents_mean": MEAN, "latents_std": STD, "scaling_factor": 0.5},
            torch.tensor(MEAN).view(1, 4, 1, 1),
            torch.tensor(STD).view(1, 4, 1, 1) / 0.5,
        ),
    ],
)
def test_shift_and_scale_as_in_diffusers(config, mean, spread) -> None:
    made = codec(**config)
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        z = made.vae.encode(pictures * 2 - 1).latent_dist.mode()
        latents = made.encode(pictures)
        torch.testing.assert_close(latents, (z - mean) / spread)
        shown = made.vae.decode(latents * spread + mean).sample
    torch.testing.assert_close(made.decode(latents), (shown / 2 + 0.5).clamp(0, 1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_no_picture_and_no_latent(bad) -> None:
    made = codec()
    with pytest.raises(SlipcastError, match="encoder of 'toy' returned NaN or infinity"):
        made.encode(torch.full((1, 3, 16, 16), bad))
    with torch.no_grad():
        made.vae.decoder.conv_out.bias[0] = bad
    with pytest.raises(SlipcastError, match="decoder of 'toy' returned NaN or infinity"):
        made.decode(torch.zeros(1, 4, 8, 8))


@pytest.mark.parametrize(
    "config",
    [{"scaling_factor": value} for value in (0, -1.0, float("nan"), "1", [1.0], True)]
    + [{"shift_factor": float("inf")}, {"latents_std": [1.0, 1.0, 0.0, 1.0]}, {"latents_mean": [0.0] * 3}],
)
def test_a_config_without_numbers_is_told_at_once(config) -> None:
    with pytest.raises(BadInput, match=f"{next(iter(config))} in the config .* 'toy' expects a number"):
        codec(**config)
