"""Pinches: what decimation presses shut is opened again, and nothing else is touched."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from slipcast.systems.field.density_sampling import SampledDensity
from slipcast.systems.mesh.cleaning import keep_large_components
from slipcast.systems.mesh.decimation import decimate
from slipcast.systems.mesh.marching_cubes import marching_cubes
from slipcast.systems.mesh.pinches import open_pinches
from slipcast.systems.mesh.report import (
    euler_number,
    face_components,
    is_outward,
    is_watertight,
    merged,
    signed_volume,
)

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
BOX = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4],
     [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def boxes(*places):
    """Unit boxes with their lower corners at the places, equal positions made one vertex."""
    vertices = np.concatenate([CORNERS + place for place in places])
    return merged(vertices, np.concatenate([BOX + 8 * k for k in range(len(places))]))


def test_a_box_is_what_the_other_tests_think():
    assert is_watertight(BOX) and is_outward(CORNERS, BOX) and signed_volume(CORNERS, BOX) == pytest.approx(1)


def test_boxes_that_share_an_edge_are_parted_through_the_air():
    vertices, faces = boxes((0, 0, 0), (1, 1, 0))
    assert not is_watertight(faces) and len(vertices) == 14
    points, triangles = open_pinches(vertices, faces)
    assert is_watertight(triangles) and is_outward(points, triangles) and len(points) == 16
    assert face_components(triangles).max() == 1 and euler_number(triangles) == 4
    welded = merged(points.astype(np.float32), triangles)[1]
    assert is_watertight(welded), "the walls are apart, not only their numbers"
    assert signed_volume(points, triangles) == pytest.approx(2, rel=0.05)


def test_a_ring_of_boxes_keeps_its_faces_joined_and_only_the_pinch_opens():
    ring = [(x, y, 0) for x in range(3) for y in range(3) if (x, y) not in ((1, 1), (2, 2))]
    vertices, faces = boxes(*ring)
    # Walls between two boxes are no surface.
    key = np.sort(faces, axis=1)
    middle = vertices[faces].mean(axis=1)
    _, index, count = np.unique(np.round(middle, 6), axis=0, return_inverse=True, return_counts=True)
    outer = faces[count[index.reshape(-1)] == 1]
    assert len(outer) < len(key)
    points, triangles = open_pinches(vertices, outer)
    assert is_watertight(triangles)
    moved = np.isin(points, vertices).all(axis=1)
    assert (~moved).sum() <= 8


def test_boxes_that_share_a_vertex_are_parted():
    vertices, faces = boxes((0, 0, 0), (1, 1, 1))
    points, triangles = open_pinches(vertices, faces)
    assert len(points) == 16 and face_components(triangles).max() == 1


def test_a_clean_mesh_and_one_with_a_hole_come_back_as_they_were():
    for faces in (BOX, BOX[1:]):
        points, triangles = open_pinches(CORNERS, faces)
        assert points is CORNERS and triangles is faces


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_a_sponge_is_decimated_as_far_as_asked_and_stays_closed(seed):
    """Its many thin walls and tunnels pinch at any setting; unopened, every pinched result would be thrown away."""
    vertices, faces = sponge(seed)
    target = len(faces) // 8
    points, triangles = decimate(vertices, faces, target)
    assert len(triangles) <= target
    assert is_watertight(triangles) and is_outward(points, triangles)
    assert is_watertight(merged(points.astype(np.float32), triangles)[1])
    assert signed_volume(points, triangles) == pytest.approx(signed_volume(vertices, faces), rel=0.02)


def sponge(seed):
    """A ball of smooth noise, cut at a level that leaves some twenty tunnels."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((40,) * 3), 2.0)
    axis = np.linspace(-1, 1, 40)
    away = np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis)))
    solid = 1 / (1 + np.exp(-4 * (noise / noise.std() + 0.3)))
    density = np.where(away < 0.85, solid, 0).astype(np.float32)
    return keep_large_components(*marching_cubes(SampledDensity.whole(density), 0.5), 0.03)
