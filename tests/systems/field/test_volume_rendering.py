"""Ray sampling and volume rendering against what can be computed by hand."""

import math

import pytest
import torch

from slipcast.systems.field.cameras import camera_rays, orbit_camera, project
from slipcast.systems.field.ray_sampling import EMPTY, LOOK, SOLID, sample_rays
from slipcast.systems.field.volume_rendering import render_image, render_rays
from slipcast.systems.field.voxels import VoxelField, cell_centres, occupied_cells


class Uniform:
    """The same density and colour everywhere."""

    def __init__(self, density, colour=(1.0, 0.5, 0.0)):
        self.density, self.colour = density, torch.tensor(colour)

    def __call__(self, points):
        return torch.full((len(points),), self.density), self.colour.expand(len(points), 3)


class Ball:
    """Solid within a radius; its colour is its position."""

    def __init__(self, radius, density=1e4):
        self.radius, self.density = radius, density

    def __call__(self, points):
        inside = points.norm(dim=-1) < self.radius
        return inside.float() * self.density, points * 0.5 + 0.5


def along(*rays):
    origins, directions = (torch.tensor(rows, dtype=torch.float32) for rows in zip(*rays, strict=True))
    return origins, torch.nn.functional.normalize(directions, dim=-1)


@pytest.mark.parametrize("generator", [None, torch.Generator().manual_seed(1)])
def test_transmittance_of_a_uniform_slab_is_exponential(generator):
    """Through the box: straight (length 2), corner to corner (2 sqrt 3), from inside (1), and past it (0)."""
    origins, directions = along(
        ((0.3, -5, 0.2), (0, 1, 0)),
        ((-2, -2, -2), (1, 1, 1)),
        ((0, 0, 0), (0, 0, -1)),
        ((3, 3, 0), (0, 0, 1)),
    )
    lengths = torch.tensor([2, 2 * math.sqrt(3), 1, 0])
    for density in (0.01, 0.7, 3.0):
        shown = render_rays(
            Uniform(density), origins, directions, samples=7, background=(0.0, 0.0, 1.0), generator=generator
        )
        left = torch.exp(-density * lengths)
        assert torch.allclose(shown.opacity, 1 - left, atol=2e-6)
        colour = (1 - left)[:, None] * torch.tensor([1.0, 0.5, 0.0]) + left[:, None] * torch.tensor(
            [0.0, 0.0, 1.0]
        )
        assert torch.allclose(shown.rgb, colour, atol=4e-6)


def test_no_background_leaves_colour_premultiplied_and_backgrounds_may_differ_per_ray():
    origins, directions = along(((0, -5, 0), (0, 1, 0)), ((3, -5, 0), (0, 1, 0)))
    bare = render_rays(Uniform(0.5), origins, directions, samples=8, background=None)
    assert torch.allclose(bare.rgb, bare.opacity[:, None] * torch.tensor([1.0, 0.5, 0.0]))
    grounds = torch.tensor([[0.0, 1.0, 0.0], [0.2, 0.4, 0.6]])
    shown = render_rays(Uniform(0.5), origins, directions, samples=8, background=grounds)
    assert torch.allclose(shown.rgb, bare.rgb + (1 - bare.opacity)[:, None] * grounds)
    assert torch.allclose(shown.rgb[1], grounds[1])


def test_a_solid_ball_has_the_outline_and_depth_of_a_sphere():
    radius, size = 0.6, 48
    camera = orbit_camera(math.radians(70), math.radians(25))
    _, opacity, depth = render_image(Ball(radius), camera, size, samples=200)
    origins, directions = camera_rays(camera, size)
    to_centre = -(origins * directions).sum(-1)
    closest = (origins + to_centre[:, None] * directions).norm(dim=-1).view(size, size)
    clear = (closest - radius).abs() > 0.03  # pixels that the sampling distance cannot decide are left out
    assert torch.equal(opacity[clear] > 0.5, closest[clear] < radius)
    front = (closest < 0.5) & clear
    expected = to_centre.view(size, size) - (radius**2 - closest.square()).clamp_min(0).sqrt()
    assert (depth[front] - expected[front]).abs().max() < 0.02


def test_a_coloured_spot_appears_where_projection_says():
    class Spot(Ball):
        def __call__(self, points):
            return (
                (points - torch.tensor([0.5, -0.2, 0.6])).norm(dim=-1) < 0.1
            ).float() * 1e3, points * 0 + 1

    camera = orbit_camera(math.radians(-40), math.radians(30))
    _, opacity, _ = render_image(Spot(1), camera, 64, samples=150)
    rows, columns = torch.nonzero(opacity > 0.5).float().mean(0) + 0.5
    (x, y), _ = (values[0] for values in project(camera, torch.tensor([[0.5, -0.2, 0.6]]), 64))
    assert abs(columns - x) < 0.5 and abs(rows - y) < 0.5


def test_samples_are_sorted_and_only_where_the_mask_says():
    mask = torch.zeros(4, 4, 4, dtype=torch.uint8)
    mask[0], mask[3] = LOOK, LOOK  # two slabs, x in [-1, -0.5] and [0.5, 1]
    origins, directions = along(
        ((-3, 0.1, 0.1), (1, 0, 0)), ((-3, 0.1, 0.1), (-1, 0, 0)), ((0.1, 0.1, 3), (0, 0, -1))
    )
    placed = sample_rays(origins, directions, samples=6, mask=mask)
    assert placed.rays.tolist() == [0], "the second looks away, the third falls between the slabs"
    x = -3 + placed.distances[0]
    assert torch.allclose(x, torch.tensor([-11 / 12, -9 / 12, -7 / 12, 7 / 12, 9 / 12, 11 / 12]), atol=1e-5)
    assert placed.step.item() == pytest.approx(1 / 6, abs=1e-5)


def test_a_ray_ends_inside_solid_cells():
    mask = torch.full((20, 20, 20), EMPTY, dtype=torch.uint8)
    mask[10:] = SOLID
    mask[9] = LOOK
    origins, directions = along(((-3, 0.01, 0.01), (1, 0, 0)))
    placed = sample_rays(origins, directions, samples=3, mask=mask)
    assert placed.step.item() * 3 == pytest.approx(0.1 + 0.2, abs=1e-4)


def test_jitter_moves_samples_within_their_pieces_and_is_repeatable():
    origins, directions = camera_rays(orbit_camera(0.3, 0.2), 12)
    regular = sample_rays(origins, directions, samples=5)
    one, two = (
        sample_rays(origins, directions, samples=5, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(one.distances, two.distances)
    shift = (one.distances - regular.distances) / one.step[:, None]
    assert shift.abs().max() <= 0.5 + 1e-3 and shift.std() > 0.2


def test_looking_only_at_occupied_cells_shows_the_same_picture():
    centres = cell_centres(32)
    radial = (centres[:, :2].norm(dim=-1) - 0.5).square() + centres[:, 2].square()
    raw = ((0.2 - radial.sqrt()) * 80).clamp(-14, 8)
    field = VoxelField(raw.view(32, 32, 32), centres.view(32, 32, 32, 3) * 3)
    everywhere = torch.full((1, 1, 1), LOOK, dtype=torch.uint8)
    origins, directions = camera_rays(orbit_camera(0.5, 0.6), 40)
    quick = render_rays(field, origins, directions, samples=64, background=(0.3, 0.3, 0.3))
    slow = render_rays(field, origins, directions, samples=600, background=(0.3, 0.3, 0.3), mask=everywhere)
    assert (quick.rgb - slow.rgb).abs().max() < 0.02
    assert (quick.rgb - slow.rgb).abs().mean() < 0.001


def test_occupied_cells_cover_odd_resolutions():
    raw = torch.full((5, 5, 5), -8.0)
    raw[4, 4, 4] = 8.0
    mask = occupied_cells(raw)
    assert mask.shape == (3, 3, 3)
    assert mask[2, 2, 2] == LOOK and mask[1, 1, 1] == LOOK and mask[0, 0, 0] == EMPTY
    assert occupied_cells(torch.full((4, 4, 4), 8.0)).unique().tolist() == [SOLID]
