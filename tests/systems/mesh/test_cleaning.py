"""Laws of the mesh cleaners: what Taubin's filter passes, which pieces are seen, where normals come from."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from slipcast.systems.mesh.cleaning import (
    keep_visible_pieces,
    normals_from,
    parted,
    smooth,
    vertex_normals,
)
from slipcast.systems.mesh.extraction import reduced
from slipcast.systems.mesh.report import face_components, face_volumes, is_watertight, merged
from slipcast.systems.types import Mesh

BALL = trimesh.creation.icosphere(subdivisions=3, radius=1.0)
BALL_VERTICES, BALL_FACES = np.array(BALL.vertices), np.array(BALL.faces)


def ball(radius: float, centre: tuple[float, float, float] = (0, 0, 0)) -> tuple[np.ndarray, np.ndarray]:
    some = trimesh.creation.icosphere(subdivisions=2, radius=radius)
    return np.array(some.vertices) + centre, np.array(some.faces)


def together(*pieces: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    before = np.cumsum([0, *(len(vertices) for vertices, _ in pieces)])
    faces = [some + shift for (_, some), shift in zip(pieces, before, strict=False)]
    return np.concatenate([vertices for vertices, _ in pieces]), np.concatenate(faces)


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    return float(face_volumes(vertices, faces).sum())


@pytest.mark.parametrize("times", [1, 3])
def test_smoothing_is_taubins_filter(times: int) -> None:
    """An octahedron and a tetrahedron are eigenvectors of the mean over neighbours: 0 and -1/3 of themselves.

    One pass takes an eigenvector of value 1 - k to (1 - 0.5 k) (1 + 0.53 k) times itself.
    """
    for solid, k in ((trimesh.creation.icosahedron(), None), (_octahedron(), 1.0), (_tetrahedron(), 4 / 3)):
        vertices = np.array(solid.vertices) - np.mean(solid.vertices, axis=0)
        faces = np.array(solid.faces)
        if k is None:  # five neighbours of an icosahedron's vertex: their mean is 1 / sqrt(5) of it
            k = 1 - 5**-0.5
        passed = ((1 - 0.5 * k) * (1 + 0.53 * k)) ** times
        np.testing.assert_allclose(smooth(vertices, faces, times), passed * vertices, atol=1e-12)


def _octahedron() -> trimesh.Trimesh:
    corners = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    return trimesh.Trimesh(corners, trimesh.convex.convex_hull(np.array(corners, float)).faces, process=False)


def _tetrahedron() -> trimesh.Trimesh:
    corners = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
    return trimesh.Trimesh(corners, [(0, 1, 2), (0, 3, 1), (0, 2, 3), (1, 3, 2)], process=False)


def test_smoothing_takes_noise_and_leaves_the_volume() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (len(BALL_VERTICES), 1))
    smoothed = smooth(BALL_VERTICES * (1 + noise), BALL_FACES, 8)
    assert volume(smoothed, BALL_FACES) == pytest.approx(volume(BALL_VERTICES, BALL_FACES), rel=0.01)
    left = np.linalg.norm(smoothed, axis=1).std()
    assert left < 0.5 * noise.std()


@pytest.mark.parametrize("share", [0.0, 0.4, 0.95])
def test_a_piece_inside_is_hidden_and_one_outside_is_not_however_near_the_wall(share: float) -> None:
    direction = np.array([0.36, 0.48, 0.8])
    large, small = 1.0, 0.3
    inside = tuple(share * (large - small - 0.03) * direction)
    outside = tuple((large + small + 0.03 + 2 * (0.95 - share)) * direction)
    vertices, faces = together(ball(large), ball(small, inside), ball(small, outside))
    kept, kept_faces = keep_visible_pieces(vertices, faces, 0.001)
    assert face_components(kept_faces).max() + 1 == 2
    expected = volume(*ball(large)) + volume(*ball(small))
    assert volume(kept, kept_faces) == pytest.approx(expected)
    assert np.linalg.norm(kept - outside, axis=1).min() < small + 1e-6


def test_pieces_in_pieces_in_pieces_are_hidden_by_the_outermost() -> None:
    vertices, faces = together(*(ball(radius) for radius in (0.2, 1.0, 0.4, 0.6)))
    kept, kept_faces = keep_visible_pieces(vertices, faces, 0.001)
    np.testing.assert_allclose(np.linalg.norm(kept, axis=1), 1.0)
    assert volume(kept, kept_faces) == pytest.approx(volume(*ball(1.0)))


def test_a_dented_piece_does_not_hide_itself_nor_its_like() -> None:
    """At the bottom of a dent a piece's own faces fill more than half of the view."""
    vertices, faces = ball(0.3, (2, 0, 0))
    for dent in range(0, len(vertices), 23):
        dented = vertices.copy()
        dented[dent] = (2, 0, 0) + 0.3 * (dented[dent] - (2, 0, 0))
        first = np.argsort(
            ~(faces == dent).any(axis=1), kind="stable"
        )  # the dent's faces and corner come first
        own = np.array([np.roll(face, -int(np.flatnonzero(face == dent)[0])) if dent in face else face
                        for face in faces[first]])  # fmt: skip
        twin = dented + (1, 0, 0)
        scene = together(ball(1.0), (dented, own), (twin, own))
        _, kept = keep_visible_pieces(*scene, 0.001)
        assert len(kept) == len(scene[1])


def test_crumbs_are_told_from_parts_by_their_share_of_the_largest_volume() -> None:
    scene = together(ball(1.0), ball(0.5, (2, 0, 0)))  # an eighth of the volume
    assert len(keep_visible_pieces(*scene, 0.124)[1]) == len(scene[1])
    assert len(keep_visible_pieces(*scene, 0.126)[1]) == len(scene[1]) / 2


def test_normals_at_the_fine_meshs_own_vertices_are_its_normals() -> None:
    fine_normals = vertex_normals(BALL_VERTICES, BALL_FACES)
    some = slice(0, None, 7)
    found = normals_from(BALL_VERTICES, fine_normals, BALL_VERTICES[some], fine_normals[some])
    np.testing.assert_allclose(found, fine_normals[some], atol=1e-4)


def test_normals_between_are_the_mean_of_four_by_inverse_distance() -> None:
    """Four corners of a square with a fan of normals, and a fifth farther away that has no say."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [5, 5, 0]], float)
    fan = np.array([[-0.6, 0, 0.8], [0.6, 0, 0.8], [0, -0.6, 0.8], [0, 0.6, 0.8], [1, 0, 0]])
    point, up = np.array([[0.2, 0.3, 0.0]]), np.array([[0.0, 0.0, 1.0]])
    weights = 1 / np.linalg.norm(corners[:4] - point, axis=1)
    mean = (weights[:, None] * fan[:4]).sum(axis=0)
    found = normals_from(corners, fan, point, up)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_the_other_side_of_a_thin_wall_has_no_say() -> None:
    """A wall of two sheets far closer than their vertices: half of the nearest four look the other way, or all do."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), -1).reshape(-1, 2)
    front = np.column_stack([grid, np.full(len(grid), 0.005)])
    fine = np.concatenate([front, front * (1, 1, -1)])
    tilt = rng.normal(0, 0.1, (len(grid), 2))
    ahead = np.column_stack([tilt, np.ones(len(grid))])
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    fine_normals = np.concatenate([ahead, ahead * (1, 1, -1)])
    points = np.column_stack([rng.uniform(1, 6, (50, 2)), np.full(50, 0.005)])
    up = np.tile([0.0, 0.0, 1.0], (50, 1))
    found = normals_from(fine, fine_normals, points, up)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert found[:, 2].min() > 0.9
    mirrored = normals_from(fine, fine_normals, points * (1, 1, -1), -up)
    np.testing.assert_allclose(mirrored, found * (1, 1, -1), atol=1e-6)
    # Nothing near looks the same way: the vertex keeps its own.
    np.testing.assert_array_equal(normals_from(front, -np.abs(ahead), points, up), up)


def test_vertices_that_fell_together_part_and_all_others_stay() -> None:
    """Neighbours on one place, whose two faces were nothing, and strangers that touch: welded, neither is closed."""
    start, end = BALL_FACES[0, :2]
    fallen = BALL_VERTICES.astype(np.float32)
    fallen[end] = fallen[start]
    touching, faces = together((fallen, BALL_FACES), ball(0.5, (1.5, 0, 0)))
    touching = touching.astype(np.float32)
    nearest = len(fallen) + np.argmin(touching[len(fallen) :, 0])
    touching[nearest] = touching[np.argmax(touching[: len(fallen), 0])]
    for vertices, some, count in ((fallen, BALL_FACES, 1), (touching, faces, 2)):
        assert not is_watertight(merged(vertices, some)[1])
        apart = parted(vertices, some)
        assert is_watertight(merged(apart, some)[1])
        moved = np.linalg.norm(apart - vertices, axis=1)
        assert (moved > 0).sum() == count and moved.max() < 0.01
    assert np.array_equal(parted(BALL_VERTICES, BALL_FACES), BALL_VERTICES)
    made = reduced(Mesh(fallen, BALL_FACES.astype(np.int32), fallen), len(BALL_FACES))
    assert is_watertight(merged(made.vertices, made.faces)[1])
