"""The renderer against spheres whose pictures are known in closed form."""

import math

import numpy as np
import pytest

from slipcast.starter.generator.geometry import BODY, ellipsoid, rounded_box
from slipcast.starter.generator.materials import MATERIALS
from slipcast.starter.generator.objects import dress
from slipcast.starter.generator.renderer import FOV_Y_RAD, RADIUS, eye_position, light_object, render_rgba

SIZE = 128
R = 0.8


def plastic(parts, name="red plastic"):
    rng = np.random.default_rng(0)
    return dress(parts, MATERIALS[name].make(rng, False), rng, noun="ball", material=name)


@pytest.fixture(scope="module")
def sphere():
    return plastic([ellipsoid((0, 0, 0), R, BODY, rows=60)])


def pixel_offsets():
    centre = np.arange(SIZE) + 0.5 - SIZE / 2
    return np.hypot(*np.meshgrid(centre, centre))


@pytest.mark.parametrize("azimuth, elevation", [(0, 15), (77, -5), (-140, 60), (0, 90)])
def test_a_spheres_silhouette_is_the_analytic_disc_from_everywhere(sphere, azimuth, elevation):
    rgba, _ = render_rgba(sphere, math.radians(azimuth), math.radians(elevation), SIZE)
    focal = SIZE / 2 / math.tan(FOV_Y_RAD / 2)
    disc = focal * R / math.sqrt(RADIUS**2 - R**2)
    coverage = np.clip(disc - pixel_offsets() + 0.5, 0, 1)
    alpha = rgba[..., 3] / 255
    assert abs(alpha.sum() / coverage.sum() - 1) < 0.006
    assert np.abs(alpha - coverage).max() <= 0.55
    assert (alpha[pixel_offsets() < disc - 1] == 1).all()
    assert (alpha[pixel_offsets() > disc + 1] == 0).all()


def test_depth_is_the_distance_along_the_viewing_axis(sphere):
    _, depth = render_rgba(sphere, 0.4, 0.2, SIZE)
    focal = SIZE / 2 / math.tan(FOV_Y_RAD / 2)
    tangent = pixel_offsets() / focal
    # Ray t (tangent, 1): |t (tangent, 1) - (0, RADIUS)| = R.
    square = 1 + tangent**2
    inside = RADIUS**2 - square * (RADIUS**2 - R**2)
    analytic = (RADIUS - np.sqrt(np.maximum(inside, 0))) / square
    middle = inside > 0.25
    assert np.abs(depth - analytic)[middle].max() < 0.01
    assert np.isinf(depth[0, 0])


def test_the_camera_stands_where_the_contract_says():
    assert eye_position(0, 0) == pytest.approx([0, -RADIUS, 0])
    assert eye_position(math.pi / 2, 0) == pytest.approx([RADIUS, 0, 0])
    assert eye_position(0, math.pi / 2) == pytest.approx([0, 0, RADIUS])


def test_right_is_plus_x_and_up_is_plus_z_in_the_front_view():
    rgba, _ = render_rgba(plastic([rounded_box((0.5, 0, 0.5), (0.2, 0.2, 0.2), BODY)]), 0, 0, SIZE)
    rows, columns = np.nonzero(rgba[..., 3])
    assert rows.mean() < SIZE / 2 < columns.mean()


def test_nearer_things_hide_farther_ones():
    near, far = rounded_box((0, -0.5, 0), (0.2, 0.1, 0.2), 3), rounded_box((0, 0.5, 0), (0.2, 0.1, 0.2), BODY)
    obj = plastic([far, near], "yellow plastic")
    front, _ = render_rgba(obj, 0, 0, SIZE)
    back, _ = render_rgba(obj, math.pi, 0, SIZE)
    assert front[64, 64, :3].max() < 100 < back[64, 64, 0]


def test_the_light_stays_in_the_world(sphere):
    lighting = light_object(sphere)
    top = sphere.vertices[:, 2].argmax()
    assert sphere.vertices[top, 2] == pytest.approx(R)
    seen = [render_rgba(sphere, math.radians(a), math.radians(70), SIZE, lighting)[0] for a in (0, 120, 240)]
    shades = [picture[..., :3][picture[..., 3] == 255].mean() for picture in seen]
    assert max(shades) - min(shades) < 25


def test_colours_stay_recognisable_and_transparent_pixels_are_empty(sphere):
    rgba, _ = render_rgba(sphere, 0, 0.26, SIZE)
    solid = rgba[rgba[..., 3] == 255][:, :3].astype(int)
    assert (solid[:, 0] > solid[:, 1] + 60).mean() > 0.9
    assert not rgba[rgba[..., 3] == 0].any()
