"""Carved solids against volumes known in closed form."""

import numpy as np
import pytest

from slipcast.starter.generator.geometry import BODY, ellipsoid, rounded_box, torus, tube, vessel
from slipcast.starter.generator.materials import MATERIALS
from slipcast.starter.generator.objects import dress
from slipcast.starter.generator.volume import RESOLUTION, solid_occupancy, surface_samples

CELL = 2 / RESOLUTION


def occupancy(*parts):
    vertices = np.concatenate([part.vertices for part in parts])
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return solid_occupancy(
        vertices, np.concatenate([p.faces + k for p, k in zip(parts, offsets, strict=True)])
    )


def cell_of(point):
    return tuple(((np.asarray(point) + 1) / CELL).astype(int))


def test_a_sphere_has_its_volume():
    solid = occupancy(ellipsoid((0, 0, 0), 0.8, BODY, rows=50))
    assert solid.sum() * CELL**3 == pytest.approx(4 / 3 * np.pi * 0.8**3, rel=0.05)


def test_a_box_is_where_it_should_be_in_x_y_z_order():
    solid = occupancy(rounded_box((0.4, -0.3, 0.2), (0.3, 0.2, 0.1), BODY, bevel=0.01))
    x, y, z = ((np.argwhere(solid) + 0.5) * CELL - 1).mean(0)
    assert (x, y, z) == pytest.approx((0.4, -0.3, 0.2), abs=0.02)


def test_a_bowl_is_hollow_and_its_wall_is_whole():
    solid = occupancy(*vessel([(0.3, -0.4), (0.6, -0.2), (0.8, 0.3)], wall=0.06))
    assert not solid[cell_of((0, 0, 0.1))] and not solid[cell_of((0.3, 0.2, 0.1))]
    assert solid[cell_of((0, 0, -0.36))]
    # Every direction outwards from the axis meets the wall.
    for angle in np.linspace(0, 2 * np.pi, 40):
        ray = np.linspace(0, 0.95, 200)[:, None] * [np.cos(angle), np.sin(angle), 0]
        assert any(solid[cell_of(p)] for p in ray)


def test_a_rings_hole_is_open():
    solid = occupancy(torus(0.6, 0.15, BODY))
    assert not solid[cell_of((0, 0, 0))] and solid[cell_of((0.6, 0, 0))]


def test_thin_legs_survive_in_one_piece():
    solid = occupancy(tube([(0.1, 0.2, -0.8), (0.2, 0.1, 0), (0.3, 0.3, 0.8)], 0.02, BODY))
    assert (solid.sum((0, 1))[8:-8] > 0).all()


def test_surface_samples_lie_on_the_surface_in_its_own_colour():
    rng = np.random.default_rng(0)
    parts = [ellipsoid((0, 0, 0), 0.8, BODY, rows=50), ellipsoid((0, 0, 0), 0.4, 3)]
    obj = dress(parts, MATERIALS["red plastic"].make(rng, False), rng, noun="ball", material="red plastic")
    solid = solid_occupancy(obj.vertices, obj.faces)
    points, albedo = surface_samples(obj, rng, 2000, solid)
    assert (
        points.dtype == np.float16 and albedo.dtype == np.uint8 and points.shape == albedo.shape == (2000, 3)
    )
    # The inner sphere cannot be seen, so none of its dark points is drawn.
    assert np.linalg.norm(points.astype(float), axis=1) == pytest.approx(0.8, abs=0.01)
    assert (albedo.astype(int)[:, 0] > albedo[:, 1] + 100).all()
    assert points.astype(float).mean(0) == pytest.approx([0, 0, 0], abs=0.05)
