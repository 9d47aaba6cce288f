"""What each step of refinement adds up and how far it goes, read back from its checkpoints and its optimiser."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from torch.optim.optimizer import register_optimizer_step_pre_hook

from slipcast.configs.over_steps import number_at
from slipcast.configs.schema import RefineConfig
from slipcast.systems.field.cameras import FRONT_ELEVATION_RAD, orbit_camera
from slipcast.systems.field.voxels import FrozenGrid, VoxelField, cell_centres
from slipcast.systems.refine.checkpoint import load_checkpoint, save_checkpoint
from slipcast.systems.refine.connectivity import join_pieces
from slipcast.systems.refine.loop import refine_field
from slipcast.systems.refine.surface_colour import SurfaceColoured
from slipcast.systems.refine.warm_start import warm_start
from slipcast.systems.types import SubjectImage

RESOLUTION = 16
CUBE = (RESOLUTION,) * 3
CONFIG = RefineConfig(
    steps=25,
    size=16,
    resolution=RESOLUTION,
    samples=8,
    distillation_weight=0.0,
    anchor_every=1,
    lr_density=0.4,
    lr_color=0.1,
    drift_weight=0.03,
    tv_weight=0.05,
    tv_color_weight=0.1,
    indecision_weight=0.3,
    sharpness=4.0,
    checkpoint_every=1,
)


def ball(radius=0.6):
    away = cell_centres(RESOLUTION).norm(dim=1).view(CUBE)
    colours = torch.rand(*CUBE, 3, generator=torch.Generator().manual_seed(0))
    return FrozenGrid(torch.sigmoid((radius - away) * 20), colours)


def picture(level=0.2):
    """A half-covered picture unlike the ball, so that every step has somewhere to go."""
    alpha = np.zeros((16, 16), np.float32)
    alpha[4:12, 2:14] = 1
    return SubjectImage(np.full((16, 16, 3), level, np.float32), alpha)


def nobody(words, grounds):
    raise AssertionError("a distillation weight of 0 asks no denoiser")


def refine(config, folder=None, progress=None, init=None):
    return refine_field(
        init or ball(),
        denoiser_for=nobody,
        encode=lambda pictures: pictures,
        reference=picture(),
        reference_camera=orbit_camera(0.0, FRONT_ELEVATION_RAD),
        config=config,
        seed=0,
        checkpoint_folder=folder,
        progress=progress,
    )


def adam(field):
    return torch.optim.Adam([{"params": [parameter]} for parameter in field.parameters()])


def soft_steps(values, weights):
    """Sum of sqrt(d^2 + 0.05^2) - 0.05 over neighbouring cells, each pair with the smaller weight; in float64."""
    values, weights, total = values.double(), weights.double(), 0.0
    for axis in range(3):
        difference = values.diff(dim=axis)
        ends = weights.narrow(axis, 1, RESOLUTION - 1), weights.narrow(axis, 0, RESOLUTION - 1)
        size = (difference.square() + 0.05**2).sqrt() - 0.05
        total += (size * torch.minimum(*ends)[..., None]).sum().item()
    return total


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Losses of every step beside the field that they were measured on, and the initial shape."""
    folder = tmp_path_factory.mktemp("checkpoints")
    fields, losses = [warm_start(ball(), RESOLUTION)], []

    def read(done, total, values):
        field = VoxelField(torch.zeros(CUBE), torch.zeros(*CUBE, 3))
        assert load_checkpoint(folder, dict(field.named_parameters()), {}, adam(field), 0) == done
        fields.append(field)
        losses.append(values)

    refine(CONFIG, folder, read)
    return list(zip(fields, losses, strict=False)), fields[0].raw_density.detach().clone()


def test_drift_is_held_fully_at_first_and_by_a_fifth_at_last(run):
    steps, initial = run
    matter = torch.sigmoid(initial).sum().item()
    for step, (field, losses) in enumerate(steps):
        moved = (field.raw_density - initial).square().sum().item()
        weight = number_at(CONFIG.drift_weight, step) * max(1 - step / CONFIG.steps, 0.2)
        assert losses["drift"] == pytest.approx(weight * moved / matter, rel=1e-4, abs=1e-9)
    assert steps[-1][1]["drift"] > 1e-4, "the shape has moved, so that the weight was seen"


def test_variation_and_indecision_are_measured_per_solid_cell(run):
    steps, initial = run
    matter = torch.sigmoid(initial).sum().item()
    for step, (field, losses) in enumerate(steps):
        solid = torch.sigmoid(field.raw_density.detach())
        field.sharpness = CONFIG.sharpness ** (step / CONFIG.steps)
        paint = torch.sigmoid(SurfaceColoured(field).raw_colour.detach())
        found = {
            "shape variation": number_at(CONFIG.tv_weight, step)
            * soft_steps(solid[..., None], torch.ones(CUBE)),
            # Paint in the air is nobody's concern.
            "colour variation": number_at(CONFIG.tv_color_weight, step) * soft_steps(paint, solid),
            "indecision": number_at(CONFIG.indecision_weight, step)
            * step
            / CONFIG.steps
            * (solid * (1 - solid)).sum().item(),
        }
        for name, value in found.items():
            assert losses[name] == pytest.approx(value / matter, rel=1e-3), (step, name)


def test_steps_grow_over_the_first_ten_and_then_fall_to_a_tenth_by_a_half_cosine():
    """Of both learning rates alike; (1 + cos 2a) / 2 = cos^2 a."""
    seen = []
    handle = register_optimizer_step_pre_hook(
        lambda optimiser, *_: seen.append([group["lr"] for group in optimiser.param_groups])
    )
    try:
        refine(CONFIG)
    finally:
        handle.remove()
    assert len(seen) == CONFIG.steps
    for step, (density, colour) in enumerate(seen):
        fall = 0.1 + 0.9 * math.cos(math.pi * step / CONFIG.steps / 2) ** 2
        assert density == pytest.approx(number_at(CONFIG.lr_density, 0) * fall * min(1, (step + 1) / 10))
        assert colour == pytest.approx(
            number_at(CONFIG.lr_color, 0) * density / number_at(CONFIG.lr_density, 0)
        )


def test_a_step_of_rest_moves_nothing():
    still = dataclasses.replace(CONFIG, lr_density=0.0, lr_color=0.0, sharpness=1.0, steps=2)
    start = warm_start(ball(), RESOLUTION)
    start.prune()
    assert torch.equal(refine(still).raw_density, start.raw_density)


def test_what_broke_on_the_way_is_in_one_piece_at_the_end(tmp_path):
    """A checkpoint after the last step holds a post with a gap: refinement has only to finish it."""
    raw = torch.full(CUBE, -3.0)
    raw[6:10, 6:10, 2:14] = 3.0
    raw[6:10, 6:10, 7:9] = -3.0
    field = VoxelField(raw, torch.zeros(*CUBE, 3))
    optimiser = adam(field)
    for parameter in field.parameters():
        optimiser.state[parameter] = {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    save_checkpoint(tmp_path, dict(field.named_parameters()), {}, optimiser, 0, CONFIG.steps)
    refined = refine(CONFIG, tmp_path)
    solid = (refined.raw_density > 0).numpy()
    assert [label(some)[1] for some in ((raw > 0).numpy(), solid)] == [2, 1]  # type: ignore[index]
    assert torch.equal(join_pieces(refined.raw_density.detach()), refined.raw_density)
    assert refined.sharpness == CONFIG.sharpness
    pruned = VoxelField(refined.raw_density, refined.raw_colour, refined.sharpness)
    pruned.prune()
    assert torch.equal(pruned.raw_density, refined.raw_density), "nothing is left where nobody sees it"


def test_the_whole_picture_counts_before_every_ground_alike():
    """An anchor that is met exactly costs nothing, whatever is drawn: the coverage and colours of nothing at all."""
    empty = FrozenGrid(torch.full(CUBE, 1e-6), torch.full((*CUBE, 3), 0.5))
    seen = []
    refine_field(
        empty,
        denoiser_for=nobody,
        encode=lambda pictures: pictures,
        reference=SubjectImage(np.ones((16, 16, 3), np.float32), np.zeros((16, 16), np.float32)),
        reference_camera=orbit_camera(0.0, FRONT_ELEVATION_RAD),
        config=dataclasses.replace(CONFIG, steps=3, drift_weight=0.0, tv_weight=0.0, indecision_weight=0.0),
        seed=0,
        progress=lambda done, total, losses: seen.append(losses),
    )
    for losses in seen:
        assert losses["picture colour"] < 1e-5 and losses["picture coverage"] < 1e-5
