"""Latents in the network's scale and shift, as diffusers' pipelines have them; NaN is never a picture."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes import tiny_pipelines as tiny

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.systems.models.codec import VAECodec

MEAN, STD = [0.1, -0.2, 0.3, 0.0], [1.0, 2.0, 0.5, 1.5]


def codec(**config: Any) -> VAECodec:
    torch.manual_seed(0)
    vae = tiny.vae()
    vae.register_to_config(**config)
    return VAECodec(vae, "toy")


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


def test_a_shift_factor_is_used_as_diffusers_own_pipeline_does() -> None:
    """As ``StableDiffusion3Img2ImgPipeline`` encodes and ``StableDiffusion3Pipeline`` decodes."""
    from diffusers import StableDiffusion3Img2ImgPipeline
    from diffusers.image_processor import VaeImageProcessor

    made = codec(shift_factor=0.0609, scaling_factor=1.5305)
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made.vae.quant_conv.weight[4:], made.vae.quant_conv.bias[4:] = 0, -30  # nothing random is left
        clean = SimpleNamespace(scale_noise=lambda latents, t, noise: latents)
        host: Any = SimpleNamespace(vae=made.vae, scheduler=clean)
        theirs = StableDiffusion3Img2ImgPipeline.prepare_latents(
            host, pictures * 2 - 1, None, 2, 1, torch.float32, "cpu", torch.Generator().manual_seed(0)
        )
        torch.testing.assert_close(made.encode(pictures), theirs, atol=1e-5, rtol=1e-5)
        unscaled = theirs / made.vae.config.scaling_factor + made.vae.config.shift_factor
        shown = VaeImageProcessor().postprocess(made.vae.decode(unscaled).sample, output_type="pt")
    torch.testing.assert_close(made.decode(theirs), shown)
