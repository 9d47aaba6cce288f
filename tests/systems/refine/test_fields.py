"""The loop knows a field by its protocol alone: an analytic sphere goes through it as the voxels do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import RefineConfig
from slipcast.guidance.noise import named_generator
from slipcast.systems.field.cameras import FRONT_ELEVATION_RAD, orbit_camera
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import DENSITY_PEAK, VoxelField
from slipcast.systems.refine.loop import refine_field
from slipcast.systems.refine.noise import NOISES
from slipcast.systems.refine.step import Loss, Step
from slipcast.systems.refine.trainable import FIELDS, Trained
from slipcast.systems.refine.views import Views
from slipcast.systems.types import RadianceField, SubjectImage

FRONT = orbit_camera(0.0, FRONT_ELEVATION_RAD)
CONFIG = RefineConfig(
    field="sphere",
    steps=60,
    size=32,
    resolution=24,
    samples=32,
    distillation_weight=0.0,
    anchor_every=1,
    lr_density=0.03,
    lr_color=0.1,
    checkpoint_every=7,
    sharpness=2.0,
)


class Ball:
    """Density and colour of a soft ball."""

    def __init__(self, radius, centre, colour, hardness=20.0) -> None:
        self.radius, self.centre, self.colour, self.hardness = radius, centre, colour, hardness

    def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inside = self.radius - (points - self.centre).norm(dim=-1)
        return DENSITY_PEAK * torch.sigmoid(self.hardness * inside), self.colour.expand(len(points), 3)


class Sphere:
    """A ``TrainableField`` of seven numbers."""

    def __init__(self, init: RadianceField, config: RefineConfig) -> None:
        self.radius = torch.nn.Parameter(torch.tensor(0.5))
        self.centre = torch.nn.Parameter(torch.zeros(3))
        self.colour = torch.nn.Parameter(torch.full((3,), 0.5))
        self.config, self.hardness, self.seen = config, 20.0, torch.zeros(1)

    def trained(self) -> Mapping[str, Trained]:
        rates = {
            "radius": self.config.lr_density,
            "centre": self.config.lr_density,
            "colour": self.config.lr_color,
        }
        return {name: Trained(getattr(self, name), rate) for name, rate in rates.items()}

    def state(self) -> Mapping[str, torch.Tensor]:
        return {"seen": self.seen}

    def anneal(self, done: float) -> None:
        self.hardness = 20.0 * self.config.sharpness**done

    def shown(self) -> RadianceField:
        self.seen += 1  # what steps change beside parameters
        return Ball(self.radius, self.centre, self.colour, self.hardness)

    def shape_losses(self) -> Mapping[str, Loss]:
        def tiny(step: Step) -> torch.Tensor:
            return 1e-6 * self.radius.square() * self.seen.sum()

        return {"tiny": tiny}

    @torch.no_grad()
    def finish(self) -> VoxelField:
        self.anneal(1.0)
        last.append(self)
        return VoxelField.from_field(
            Ball(self.radius, self.centre, self.colour, self.hardness), self.config.resolution
        )


last: list[Sphere] = []
TRUTH = Ball(torch.tensor(0.7), torch.tensor([0.1, 0.0, -0.05]), torch.tensor([0.8, 0.3, 0.2]), 40.0)


def refined(config: RefineConfig = CONFIG, **options) -> VoxelField:
    rgb, opacity, _ = render_image(TRUTH, FRONT, config.size)
    colour = (rgb / opacity.clamp_min(1e-3)[..., None]).clamp(0, 1)
    return refine_field(
        TRUTH,
        denoiser_for=lambda words, backgrounds: pytest.fail("nobody is asked"),
        encode=lambda pictures: pictures,
        reference=SubjectImage(colour.numpy(), opacity.numpy()),
        reference_camera=FRONT,
        config=config,
        seed=0,
        **options,
    )


@pytest.fixture(autouse=True)
def _sphere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FIELDS, "sphere", Sphere)
    last.clear()


def test_a_sphere_of_seven_numbers_is_refined_to_the_picture() -> None:
    refined()
    assert last[0].radius.item() == pytest.approx(0.7, abs=0.03)
    assert last[0].centre[0].item() == pytest.approx(0.1, abs=0.03)
    assert (last[0].colour - TRUTH.colour).abs().max() < 0.05


def test_a_sphere_goes_on_bit_for_bit(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, steps=20)

    def stop(done: int, *_) -> None:
        if done == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refined(config, checkpoint_folder=tmp_path, progress=stop)
    steps: list[int] = []
    resumed = refined(config, checkpoint_folder=tmp_path, progress=lambda done, *_: steps.append(done))
    whole = refined(config)
    assert steps[0] == 15 and last[0].seen.item() == last[1].seen.item() == 20
    assert torch.equal(resumed.raw_density, whole.raw_density)
    assert torch.equal(resumed.raw_colour, whole.raw_colour)


def test_a_checkpoint_of_another_field_is_said(tmp_path: Path) -> None:
    refined(dataclasses.replace(CONFIG, steps=7), checkpoint_folder=tmp_path)
    said: list[str] = []
    voxels = dataclasses.replace(CONFIG, field="voxels", steps=8)
    refined(voxels, checkpoint_folder=tmp_path, notice=said.append)
    assert len(said) == 1 and "raw_density" in said[0] and "starts anew" in said[0]


@pytest.mark.parametrize(("key", "near"), [("field", "voxels"), ("noise", "random")])
def test_names_that_are_none_are_bad_input(key: str, near: str) -> None:
    with pytest.raises(BadInput, match=f"did you mean {near}"):
        refined(dataclasses.replace(CONFIG, **{key: near + "s"}))


def views(*azimuths: float) -> Views:
    return Views(
        [orbit_camera(a, 0.3) for a in azimuths], [""] * len(azimuths), [(0.5, 0.5, 0.5)] * len(azimuths)
    )


def test_noise_per_view_repeats_for_the_same_view_and_random_noise_does_not() -> None:
    shape = (2, 4, 8, 8)
    for name, repeats in (("per_view", True), ("random", False)):
        draw, generator = NOISES[name](0), named_generator(0, "steps")
        one, other = (draw(views(0.1, 2.0), shape, generator) for _ in range(2))
        assert one.shape == shape and torch.equal(one, other) == repeats
        assert not torch.equal(one[0], one[1])
    draw = NOISES["per_view"](0)
    near, far = draw(views(0.12), (1, 4, 8, 8), generator), draw(views(0.5), (1, 4, 8, 8), generator)
    assert not torch.equal(near, far)
    assert torch.equal(draw(views(0.12, 2.01), shape, generator), draw(views(0.1, 2.0), shape, generator))
    assert not torch.equal(
        draw(views(0.1), shape, generator), NOISES["per_view"](1)(views(0.1), shape, generator)
    )


@pytest.mark.parametrize("name", NOISES)
def test_noise_of_either_source_is_unit_normal(name: str) -> None:
    draw, generator = NOISES[name](3), named_generator(3, "steps")
    turns = [0.27 * k for k in range(23)]
    noise = draw(views(*turns), (len(turns), 4, 32, 32), generator)
    assert noise.mean().abs() < 0.02 and (noise.std() - 1).abs() < 0.02
    assert (noise.flatten(1) @ noise.flatten(1).T / 4096 - torch.eye(len(turns))).abs().max() < 0.12
