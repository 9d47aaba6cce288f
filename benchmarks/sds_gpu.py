"""Where the time of a step of score distillation goes on a GPU, beside a step written out as threestudio takes it.

``python -m benchmarks.sds_gpu [--small] [--steps 20]``: networks of Stable Diffusion 1.5's size with random weights,
float16 on a GPU, latents of 64 x 64; a sphere as the field, in voxels and in a hash grid. ``--small`` takes networks of
a few thousand numbers and small views: a smoke test for a CPU, whose figures say nothing.

Printed, in milliseconds a step, medians: the whole, the denoiser's and the autoencoder's part (measured alone, forward
and back as a step has them), and the rest, which is our own code; with two branches (cfg) and three (in-domain); and,
with the same networks, the step of threestudio's ``stable-diffusion-guidance``: a view of 64 pixels scaled to 512,
encoded with its gradient, both branches in one batch, Adam on the same field; with the decoding of x_0 that it does and
drops, and without.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from slipcast.configs.schema import RefineConfig
from slipcast.guidance.algebra import Branch
from slipcast.guidance.conditioning import Conditioning
from slipcast.guidance.evaluation import GuidedNoise
from slipcast.guidance.networks import UNetPredictor
from slipcast.guidance.null_text import make_null_text, null_text_features
from slipcast.guidance.recipes import around
from slipcast.guidance.schedules import from_diffusers
from slipcast.systems.field.cameras import FRONT_ELEVATION_RAD, camera_rays, orbit_camera
from slipcast.systems.field.volume_rendering import render_rays
from slipcast.systems.lift.gridding import blob
from slipcast.systems.models.codec import VAECodec
from slipcast.systems.refine.refinement import Refinement
from slipcast.systems.refine.target import Target
from slipcast.systems.refine.trainable import trainable_field
from slipcast.systems.types import SubjectImage

from .machine import report

_WORDS, _TEXT = 77, {False: 768, True: 32}
Timed = Callable[[Callable[[], Any]], float]


class Networks:
    """A denoiser, a null-text one, and an autoencoder, of Stable Diffusion 1.5's size or tiny."""

    def __init__(self, *, small: bool, device: str, dtype: torch.dtype) -> None:
        from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel

        widths = (32, 64) if small else (320, 640, 1280, 1280)
        kinds: dict[str, Any] = {} if not small else {
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "attention_head_dim": 8, "layers_per_block": 1,
        }  # fmt: skip
        torch.manual_seed(0)
        self.side, self.size = (8, 64) if small else (64, 512)
        unet = UNet2DConditionModel(
            sample_size=self.side, block_out_channels=widths, cross_attention_dim=_TEXT[small], **kinds
        )
        levels = 4
        depth: dict[str, Any] = {
            "block_out_channels": (32, 32, 32, 32) if small else (128, 256, 512, 512),
            "down_block_types": ("DownEncoderBlock2D",) * levels,
            "up_block_types": ("UpDecoderBlock2D",) * levels,
            "layers_per_block": 1 if small else 2,
        }
        self.vae = VAECodec(self._ready(AutoencoderKL(**depth), device, dtype), "random")
        self.tiny = VAECodec(self._ready(AutoencoderTiny(), device, dtype), "tiny")
        unet = self._ready(unet, device, dtype)
        schedule = from_diffusers(
            DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        )
        told = {"schedule": schedule, "prediction_type": "epsilon", "latent_space": "sd"}
        texts = [Conditioning(text=torch.randn(1, _WORDS, _TEXT[small], device=device)) for _ in range(2)]
        noisy = torch.randn(2, 4, self.side, self.side, device=device, dtype=dtype)
        features = null_text_features(unet, texts[0], noisy, torch.tensor([500, 500], device=device))
        predictor = UNetPredictor(unet, name="base", **told)
        domain = UNetPredictor(make_null_text(unet, features).eval(), name="domain", **told)
        self.null, self.text = (
            Branch(name, predictor, one) for name, one in zip(("null", "text"), texts, strict=True)
        )
        self.domain = Branch("domain", domain, Conditioning())

    @staticmethod
    def _ready(network: Any, device: str, dtype: torch.dtype) -> Any:
        return network.requires_grad_(False).eval().to(device, dtype, memory_format=torch.channels_last)

    def guided(self, branches: int) -> GuidedNoise:
        """cfg for two branches, in-domain guidance for three."""
        terms = [(self.text, 7.5)] if branches == 2 else [(self.domain, 3.5), (self.text, 3.5)]
        return GuidedNoise(around(self.null, *terms))


def timed(steps: int, device: str) -> Timed:
    """Median milliseconds of a call, after two that do not count."""

    def run(call: Callable[[], Any]) -> float:
        found = []
        for _ in range(steps + 2):
            _wait(device)
            began = time.perf_counter()
            call()
            _wait(device)
            found.append(1000 * (time.perf_counter() - began))
        return median(found[2:])

    return run


def ours(
    networks: Networks, field: str, branches: int, codec: VAECodec, device: str, clock: Timed
) -> dict[str, float]:
    """A step of refinement, and what its networks take of it."""
    config = RefineConfig(
        steps=10_000, views=1, size=networks.size, resolution=64, samples=64, field=field, t_max=0.98, t_max_end=0.98,
        anchor_rgb_weight=0.0, anchor_alpha_weight=0.0,
    )  # fmt: skip
    grid = blob(config.resolution).to(device)
    guided = networks.guided(branches)
    picture = SubjectImage(np.full((64, 64, 3), 0.5, np.float32), np.ones((64, 64), np.float32))
    refinement = Refinement(
        trainable_field(field)(grid, config),
        Target(picture, orbit_camera(0.0, FRONT_ELEVATION_RAD), config.size, device),
        lambda words, backgrounds: guided,
        codec.encode,
        config,
        seed=0,
    )
    count = iter(range(config.steps))
    latents = torch.randn(1, 4, networks.side, networks.side, device=device)
    t = torch.tensor([500], device=device)
    shown = torch.rand(1, 3, networks.size, networks.size, device=device, requires_grad=True)

    def encoder() -> None:
        codec.encode(shown).sum().backward()

    told = {
        "step": clock(lambda: refinement.step(next(count))),
        "denoiser": clock(lambda: guided(latents, t)),
        "encoder": clock(encoder),
    }
    told["own"] = told["step"] - told["denoiser"] - told["encoder"]
    return {name: round(value, 2) for name, value in told.items()}


def theirs(networks: Networks, device: str, clock: Timed, *, decodes: bool) -> float:
    """A step as threestudio's stable-diffusion-guidance takes it, written out."""
    config = RefineConfig(size=64, resolution=64, samples=64)
    field = trainable_field("voxels")(blob(config.resolution).to(device), config)
    trained = [one.parameter for one in field.trained().values()]
    optimiser = torch.optim.Adam(trained, lr=0.01)
    camera = orbit_camera(0.0, FRONT_ELEVATION_RAD)
    origins, directions = (rays.to(device) for rays in camera_rays(camera, config.size))
    unet, text = networks.null.predictor, (networks.null.condition, networks.text.condition)
    schedule = networks.guided(2).schedule

    def step() -> None:
        rendered = render_rays(
            field.shown(), origins, directions, samples=config.samples, background=(0.5, 0.5, 0.5)
        )
        picture = rendered.rgb.view(1, config.size, config.size, 3).permute(0, 3, 1, 2)
        large = F.interpolate(picture, (networks.size, networks.size), mode="bilinear", align_corners=False)
        latents = networks.vae.encode(large)
        with torch.no_grad():
            t = torch.randint(20, 981, (1,), device=device)
            noise = torch.randn_like(latents)
            x_t = schedule.add_noise(latents, noise, t)
            null, told = unet.predict(x_t, t, text)
            eps = told + 100.0 * (told - null)
            if decodes:  # of the guess of x_0, which nothing reads
                alpha_bar = schedule.alpha_bar(t).view(-1, 1, 1, 1)
                networks.vae.decode((x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt())
            grad = (1 - schedule.alpha_bar(t)).view(-1, 1, 1, 1) * (eps - noise)
        loss = 0.5 * F.mse_loss(latents, (latents - grad).detach(), reduction="sum")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return round(clock(step), 2)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="tiny networks, for a smoke test")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    dtype = torch.float16 if given.device.startswith("cuda") else torch.float32
    networks = Networks(small=given.small, device=given.device, dtype=dtype)
    clock = timed(given.steps, given.device)
    figures: dict[str, Any] = {
        "networks": "tiny" if given.small else "SD1.5's size",
        "card": torch.cuda.get_device_name() if given.device.startswith("cuda") else "none",
    }
    for field in ("voxels", "hashgrid"):
        for branches in (2, 3):
            name = f"{field}, {branches} branches"
            figures[name] = ours(networks, field, branches, networks.vae, given.device, clock)
    figures["voxels, 2 branches, small encoder"] = ours(
        networks, "voxels", 2, networks.tiny, given.device, clock
    )
    for decodes in (False, True):
        figures[f"as threestudio, {'decoding x_0' if decodes else 'without decoding'}"] = {
            "step": theirs(networks, given.device, clock, decodes=decodes)
        }
    if given.device.startswith("cuda"):
        figures["memory_gb"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    report("sds_gpu_small" if given.small else "sds_gpu", figures, given.out)


if __name__ == "__main__":
    main()
