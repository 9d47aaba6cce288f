"""Paint drawn from the surface: laws of the extension, and of fields that get harder."""

import pytest
import torch

from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import SURFACE_DENSITY, VoxelField, cell_centres
from slipcast.systems.refine.surface_colour import (
    SurfaceColoured,
    extend_by_torch,
    extend_from_surface,
    surface_points,
    surface_points_by_torch,
)
from slipcast.systems.refine.surface_kernels import extend_on_cpu

RADIUS, RESOLUTION = 0.6, 32
CUBE = (RESOLUTION,) * 3


def ball(sharpness=1.0):
    """A ball of random colours, a different one in every cell."""
    raw = (RADIUS - cell_centres(RESOLUTION).norm(dim=1)).view(CUBE) * 15
    colours = torch.rand(*CUBE, 3, generator=torch.Generator().manual_seed(0)) * 4 - 2
    return VoxelField(raw, colours, sharpness)


def test_feet_lie_on_the_surface_straight_below_their_cells():
    cells, feet = surface_points(ball().raw_density)
    centres = cell_centres(RESOLUTION)[cells]
    assert len(cells) > 5000
    assert (feet.norm(dim=1) - RADIUS).abs().max() < 0.02
    agreement = torch.nn.functional.cosine_similarity(feet, centres)
    assert agreement.min() > 0.99
    depth = (centres.norm(dim=1) - RADIUS).abs()
    assert depth.max() > 3 * 2 / RESOLUTION, "cells well above and below the surface are reached"


@pytest.mark.parametrize(("flat", "steep", "below"), [(0.4, 1.8, 0.5), (0.4, 1.8, 0.4), (0.2, 1.5, 0.7)])
def test_no_foot_is_where_the_surface_is_not(flat, steep, below):
    """A slope that is steep about a cell and flat below it promises a surface nearer than it is.

    Newton's steps then end in the haze above the surface, where |raw| is small but the paint is of nothing.
    """
    cell, x = 2 / RESOLUTION, cell_centres(RESOLUTION)[:, 0]
    corner = 9.0 * cell - 0.5 * cell
    surface = corner - below
    profile = torch.where(x < corner, flat * (x - surface), flat * below + steep * (x - corner))
    cells, feet = surface_points(profile.view(CUBE))
    centres = cell_centres(RESOLUTION)[cells]
    assert len(cells) > 0 and torch.equal(feet[:, 1:], centres[:, 1:])
    assert (feet[:, 0] - surface).abs().max() < 0.5 * cell
    assert (feet - centres).norm(dim=1).max() < 4 * cell


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_foot_lies_outside_the_box(side, axis):
    """A shape may leave the box; past its wall there is no paint to take, nor for a foot past it on one axis alone."""
    cell, along = 2 / RESOLUTION, cell_centres(RESOLUTION)[:, axis].view(CUBE)
    for wall in (1 - 0.3 * cell, 1 + 0.3 * cell):
        _, feet = surface_points(4 * (side * along - wall))
        assert (feet.abs() <= 1).all()
    assert len(surface_points(4 * (side * along - (1 - 0.3 * cell)))[0]) > 0


def test_paint_does_not_change_across_the_skin():
    field = ball()
    with torch.no_grad():
        field.raw_colour.copy_(extend_from_surface(field.raw_density, field.raw_colour))
    directions = torch.nn.functional.normalize(
        torch.randn(500, 3, generator=torch.Generator().manual_seed(1)), dim=1
    )
    shells = [field((RADIUS + offset) * directions)[1] for offset in (-0.05, 0.0, 0.05)]
    before = [ball()((RADIUS + offset) * directions)[1] for offset in (-0.05, 0.0, 0.05)]
    for one, two, old in ((0, 1, 0), (2, 1, 2)):
        assert (shells[one] - shells[two]).abs().mean() < 0.3 * (before[old] - before[1]).abs().mean()


def test_paint_that_does_not_change_along_the_normal_stays_as_it_is():
    centres = cell_centres(RESOLUTION)
    colours = torch.nn.functional.normalize(centres, dim=1).view(*CUBE, 3)
    painted = extend_from_surface(ball().raw_density, colours)
    cells, _ = surface_points(ball().raw_density)
    assert (painted.view(-1, 3)[cells] - colours.view(-1, 3)[cells]).abs().max() < 0.02


def test_cells_far_from_the_surface_keep_their_paint():
    field = ball()
    away = (cell_centres(RESOLUTION).norm(dim=1) - RADIUS).abs().view(CUBE)
    painted = extend_from_surface(field.raw_density, field.raw_colour)
    far = away > 5 * 2 / RESOLUTION
    assert torch.equal(painted[far], field.raw_colour[far])


def test_the_extension_is_differentiable_with_respect_to_paint_alone():
    field = ball()
    shown = SurfaceColoured(field)
    _, colours = shown(torch.tensor([[RADIUS + 2.5 * 2 / RESOLUTION, 0.0, 0.0]]))
    colours.sum().backward()
    assert field.raw_colour.grad is not None and field.raw_density.grad is not None
    assert not field.raw_density.grad.any()
    touched = cell_centres(RESOLUTION)[field.raw_colour.grad.abs().sum(-1).reshape(-1) > 0]
    assert (touched.norm(dim=1) - RADIUS).abs().max() < 2 * 2 / RESOLUTION, (
        "the surface is painted, not the air"
    )


def test_light_that_goes_deeper_sees_the_same_paint():
    """Layers of other colours would show as the field gets softer; away from the rim nothing else changes."""

    def shown(field):
        return render_image(field, orbit_camera(0.0, 0.0), 64, samples=256)[0][24:40, 24:40]

    field = ball(16.0)
    with torch.no_grad():
        field.raw_colour.copy_(SurfaceColoured(field).raw_colour)
    softer = VoxelField(field.raw_density, field.raw_colour, 4.0)
    apart = (shown(field) - shown(softer)).abs().mean()
    layered = (shown(ball(16.0)) - shown(ball(4.0))).abs().mean()
    assert apart < 0.4 * layered


@pytest.mark.parametrize("sharpness", [1.0, 4.0, 16.0])
def test_sharpness_leaves_the_surface_where_it_is(sharpness):
    field = ball(sharpness)
    direction = torch.tensor([[0.0, 0.6, 0.8]])
    inside, outside = (field((RADIUS + offset) * direction)[0].item() for offset in (-0.02, 0.02))
    assert outside < sharpness * SURFACE_DENSITY < inside
    assert field.density_at_centres().max() <= 2 * sharpness * SURFACE_DENSITY


def test_sharpness_travels_with_the_field(tmp_path):
    field = ball(5.5)
    field.save(tmp_path / "field.safetensors")
    loaded = VoxelField.load(tmp_path / "field.safetensors")
    points = torch.rand(50, 3) * 2 - 1
    assert loaded.sharpness == 5.5 and torch.equal(loaded(points)[0], field(points)[0])
    assert field.upsample(40).sharpness == 5.5


def test_looking_only_where_a_hard_field_is_shows_the_same_picture():
    field = ball(16.0)
    camera = orbit_camera(0.3, 0.4)
    rgb, opacity, _ = render_image(field, camera, 48, samples=256)
    everywhere = lambda points: field(points)  # noqa: E731 - hides what the field knows of its empty space
    plain_rgb, plain_opacity, _ = render_image(everywhere, camera, 48, samples=2048)
    assert (opacity - plain_opacity).abs().mean() < 0.01 and (rgb - plain_rgb).abs().mean() < 0.01


def test_the_kernels_find_what_the_tensor_operations_find():
    raw = ball().raw_density + torch.randn(CUBE, generator=torch.Generator().manual_seed(2))
    (cells, feet), (others, their_feet) = surface_points(raw), surface_points_by_torch(raw)
    assert len(cells) > 1000 and torch.equal(cells, others)
    torch.testing.assert_close(feet, their_feet, rtol=0, atol=1e-6)


def test_the_kernels_bring_colours_and_gradients_where_the_tensor_operations_do():
    cells, feet = surface_points(ball().raw_density)
    upstream = torch.randn(*CUBE, 3, generator=torch.Generator().manual_seed(3))
    found = []
    for extend in (extend_on_cpu, extend_by_torch):
        colours = ball().raw_colour.detach().clone().requires_grad_()
        made = extend(colours, cells, feet)
        found.append((made.detach(), *torch.autograd.grad(made, colours, upstream)))
    assert not torch.equal(found[0][0], ball().raw_colour)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
