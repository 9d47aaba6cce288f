"""Refinements of a grey ball with denoisers whose answers are known, small enough for tests."""

import dataclasses
import math

import torch

from slipcast.configs.schema import RefineConfig
from slipcast.guidance.schedules import NoiseSchedule
from slipcast.systems.field.cameras import FRONT_ELEVATION_RAD, orbit_camera
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import FrozenGrid, cell_centres
from slipcast.systems.refine.loop import refine_field
from slipcast.systems.refine.step import DenoiserFor
from slipcast.systems.types import SubjectImage

SCHEDULE = NoiseSchedule(torch.cos(torch.linspace(0.01, math.pi / 2 - 0.01, 100)).square())
FRONT = orbit_camera(0.0, FRONT_ELEVATION_RAD)
QUIET = RefineConfig(
    steps=6,
    size=32,
    resolution=16,
    samples=16,
    drift_weight=0.0,
    tv_weight=0.0,
    tv_color_weight=0.0,
    indecision_weight=0.0,
    anchor_rgb_weight=0.0,
    anchor_alpha_weight=0.0,
    distillation_weight=0.0,
)
BUSY = dataclasses.replace(RefineConfig(), steps=6, size=32, resolution=16, samples=16, checkpoint_every=2)


class PaintedOneColour:
    """The exact denoiser of pictures that are one colour all over, spread 0.3 about it (a Gaussian)."""

    schedule = SCHEDULE

    def __init__(self, words, grounds, colour=(0.1, 0.2, 0.8)):
        self.mean = to_latents(torch.tensor(colour).view(1, 3, 1, 1))

    def __call__(self, x_t, t):
        a, s = SCHEDULE.signal_and_noise(t, x_t)
        clean = (0.3**2 * a * x_t + s**2 * self.mean) / (a**2 * 0.3**2 + s**2)
        return SCHEDULE.eps_from_x0(x_t, clean, t)

    def delta(self, x_t, t):
        raise AssertionError("plain score distillation never asks for the guidance alone")


def to_latents(pictures):
    return (pictures - 0.5) * 3


def encode(pictures):
    return to_latents(torch.nn.functional.avg_pool2d(pictures, 4))


def grey_ball(resolution=16, radius=0.6):
    away = cell_centres(resolution).norm(dim=-1).view((resolution,) * 3)
    return FrozenGrid(torch.sigmoid((radius - away) * 30), torch.full((resolution,) * 3 + (3,), 0.5))


def picture_of(field, size=32):
    rgb, opacity, _ = render_image(field, FRONT, size)
    return SubjectImage((rgb / opacity.clamp_min(1e-3)[..., None]).clamp(0, 1).numpy(), opacity.numpy())


def refine(
    config, *, init=None, reference=None, seed=0, denoiser_for: DenoiserFor = PaintedOneColour, **options
):
    """The refined ball, of seed 0 and before a picture of itself unless told otherwise."""
    init = init or grey_ball()
    reference = reference or picture_of(init)
    return refine_field(
        init,
        denoiser_for=denoiser_for,
        encode=encode,
        reference=reference,
        reference_camera=FRONT,
        config=config,
        seed=seed,
        **options,
    )


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
