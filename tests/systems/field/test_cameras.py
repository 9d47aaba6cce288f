"""Cameras: the frame, the picture's axes, projection against rays, the words for views."""

import math

import pytest
import torch

from slipcast.systems.field.cameras import FRAMING_RADIUS, camera_rays, orbit_camera, project, view_word


def degrees(*angles: float) -> tuple[float, ...]:
    return tuple(math.radians(angle) for angle in angles)


def test_orbit_positions_follow_the_frame():
    def position(azimuth, elevation):
        return orbit_camera(*degrees(azimuth, elevation), radius=2.0).position

    expected = {
        (0, 0): (0, -2, 0),
        (90, 0): (2, 0, 0),
        (180, 0): (0, 2, 0),
        (270, 0): (-2, 0, 0),
        (0, 90): (0, 0, 2),
    }
    for (azimuth, elevation), place in expected.items():
        assert torch.allclose(
            position(azimuth, elevation), torch.tensor(place, dtype=torch.float32), atol=1e-6
        )


@pytest.mark.parametrize("elevation", [-90, -20, 0, 15, 90])
def test_axes_are_a_rotation_that_looks_at_the_origin(elevation):
    camera = orbit_camera(*degrees(130, elevation))
    turn = camera.cam_to_world[:3, :3]
    assert torch.allclose(turn @ turn.T, torch.eye(3), atol=1e-6)
    assert torch.det(turn).item() == pytest.approx(1, abs=1e-6)
    assert torch.allclose(-turn[:, 2] * FRAMING_RADIUS, -camera.position, atol=1e-5)


def test_front_view_shows_plus_x_right_and_plus_z_at_the_top():
    camera = orbit_camera(0.0, 0.0)
    pixels, depth = project(camera, torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0, 0, 0.5], [0, -0.5, 0]]), 100)
    assert torch.allclose(pixels[0], torch.tensor([50.0, 50.0]), atol=1e-4)
    assert pixels[1, 0] > 60 and pixels[1, 1].item() == pytest.approx(50, abs=1e-4)
    assert pixels[2, 1] < 40 and pixels[2, 0].item() == pytest.approx(50, abs=1e-4)
    assert depth[3] < depth[0]
    _, directions = camera_rays(camera, 4)
    assert directions[0, 0] < 0 < directions[0, 2], "the first ray is the top left one"
    assert torch.allclose(directions.norm(dim=-1), torch.ones(16))


def test_the_frame_edge_is_the_field_of_view():
    half = FRAMING_RADIUS * math.tan(math.radians(15))
    pixels, _ = project(orbit_camera(0.0, 0.0), torch.tensor([[half, 0.0, 0.0], [0.0, 0.0, half]]), 64)
    assert torch.allclose(pixels, torch.tensor([[64.0, 32.0], [32.0, 0.0]]), atol=1e-4)


def test_projecting_along_rays_gives_back_the_pixel_centres():
    camera, size = orbit_camera(*degrees(37, 22)), 9
    origins, directions = camera_rays(camera, size)
    distances = torch.linspace(2, 6, size * size)[:, None]
    pixels, depth = project(camera, origins + distances * directions, size)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centres = torch.stack([columns.flatten(), rows.flatten()], dim=-1) + 0.5
    assert torch.allclose(pixels, centres, atol=1e-3)
    assert (depth > 0).all()


@pytest.mark.parametrize(
    ("azimuth", "elevation", "word"),
    [
        (0, 15, "front view"),
        (22.5, 15, "front view"),
        (-22.5, 40, "front view"),
        (23, 15, "three-quarter view"),
        (-67.5, 0, "three-quarter view"),
        (68, 15, "side view"),
        (112.5, 15, "side view"),
        (247.6, 15, "side view"),
        (113, 15, "back view"),
        (180, 15, "back view"),
        (360 + 180, 15, "back view"),
        (720 - 10, 15, "front view"),
        (0, 40.1, "view from above"),
        (180, 80, "view from above"),
    ],
)
def test_view_words(azimuth, elevation, word):
    assert view_word(*degrees(azimuth, elevation)) == word
