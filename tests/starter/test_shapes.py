"""Laws of the starter's shapes: framing, winding, closedness, determinism; truths of the primitives."""

import numpy as np
import pytest

from slipcast.starter.generator import geometry
from slipcast.starter.generator.blend import SoftBody, cone
from slipcast.starter.generator.curves import rounded, spline
from slipcast.starter.generator.families import FAMILIES, POTTERY, build
from slipcast.starter.generator.parts import Part, normalise, place, rotation

SEEDS = (0, 1, 2, 3)
NOUNS = tuple(FAMILIES)


def points_of(parts: list[Part]) -> np.ndarray:
    return np.concatenate([part.vertices for part in parts]).astype(float)


def face_vectors(part: Part) -> np.ndarray:
    """Area vectors [F, 3]: normal of the winding times area."""
    corner = part.vertices.astype(float)[part.faces]
    return 0.5 * np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])


def volume(parts: list[Part]) -> float:
    """Signed volume by the divergence theorem; positive when triangles face outward."""
    total = 0.0
    for part in parts:
        middle = part.vertices.astype(float)[part.faces].mean(axis=1)
        total += float((middle * face_vectors(part)).sum()) / 3.0
    return total


@pytest.fixture(scope="module")
def objects() -> dict[tuple[str, int], list[Part]]:
    return {(noun, seed): build(noun, np.random.default_rng(seed)) for noun in NOUNS for seed in SEEDS}


def test_forty_single_word_nouns():
    assert len(NOUNS) == 40
    assert all(noun.isalpha() and noun.islower() for noun in NOUNS)
    assert set(NOUNS) >= POTTERY


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("seed", SEEDS)
def test_parts_are_valid(objects, noun, seed):
    parts = objects[noun, seed]
    assert 1500 <= sum(len(part.faces) for part in parts) <= 17000
    for part in parts:
        count = len(part.vertices)
        assert part.vertices.dtype == part.normals.dtype == part.uv.dtype == np.float32
        assert part.faces.dtype == np.int32 and part.slot in (0, 1, 2, 3)
        assert part.vertices.shape == part.normals.shape == (count, 3) and part.uv.shape == (count, 2)
        assert part.faces.min() >= 0 and part.faces.max() < count
        assert all(np.isfinite(array).all() for array in (part.vertices, part.normals, part.uv))
        assert part.uv.min() >= 0.0 and part.uv.max() <= 1.0
        used = np.unique(part.faces)
        np.testing.assert_allclose(np.linalg.norm(part.normals[used], axis=1), 1.0, atol=1e-4)


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("seed", SEEDS)
def test_framing_law(objects, noun, seed):
    points = points_of(objects[noun, seed])
    np.testing.assert_allclose(points.min(axis=0) + points.max(axis=0), 0.0, atol=1e-5)
    widest = max(np.hypot(points[:, 0], points[:, 1]).max(), np.abs(points[:, 2]).max())
    sphere = np.linalg.norm(points, axis=1).max()
    assert widest <= 0.85 + 1e-5 and sphere <= 1.10 + 1e-5
    assert np.isclose(widest, 0.85, atol=1e-5) or np.isclose(sphere, 1.10, atol=1e-5)


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("seed", SEEDS)
def test_normals_agree_with_winding_and_face_outward(objects, noun, seed):
    parts = objects[noun, seed]
    for part in parts:
        area = face_vectors(part)
        size = np.linalg.norm(area, axis=1)
        along = (area * part.normals[part.faces].mean(axis=1)).sum(axis=1)
        assert size[along <= 0].sum() <= 0.002 * size.sum()
    assert volume(parts) > 0.01


@pytest.mark.parametrize("noun", NOUNS)
def test_surfaces_are_closed(objects, noun):
    # The area vectors of a closed surface sum to zero (divergence theorem on a constant field).
    for seed in SEEDS:
        areas = np.concatenate([face_vectors(part) for part in objects[noun, seed]])
        assert np.linalg.norm(areas.sum(axis=0)) <= 0.004 * np.linalg.norm(areas, axis=1).sum()


@pytest.mark.parametrize("noun", NOUNS)
def test_same_seed_same_object_and_other_seed_other_object(objects, noun):
    again = build(noun, np.random.default_rng(SEEDS[0]))
    first, second = points_of(objects[noun, SEEDS[0]]), points_of(objects[noun, SEEDS[1]])
    np.testing.assert_array_equal(points_of(again), first)
    assert first.shape != second.shape or np.abs(first - second).max() > 0.01


@pytest.mark.parametrize(
    "noun", ["teapot", "pig", "elephant", "horse", "duck", "fish", "car", "boat", "bench"]
)
def test_long_things_show_their_broadside_to_the_front(objects, noun):
    for seed in SEEDS:
        extent = np.ptp(points_of(objects[noun, seed]), axis=0)
        assert extent[0] > 1.3 * extent[1]


@pytest.mark.parametrize("noun", ["cup", "mug", "pitcher"])
def test_handle_is_at_positive_x(objects, noun):
    # The longest way from the axis of the wall is to the handle; the vessel's foot tells where the axis is.
    for seed in SEEDS:
        body = objects[noun, seed][0].vertices
        axis = body[body[:, 2] <= body[:, 2].min() + 1e-4, 0].mean()
        handle = next(part for part in objects[noun, seed] if part.vertices[:, 0].min() > axis + 0.05)
        assert handle.vertices[:, 0].max() > body[:, 0].max() - 0.05


def test_plate_face_looks_to_the_front(objects):
    for seed in SEEDS:
        face = objects["plate", seed][1]
        looks = face_vectors(face).sum(axis=0)
        assert -looks[1] > 0.8 * np.linalg.norm(looks)


def test_normalise_is_idempotent_and_ignores_place_and_size():
    parts = FAMILIES["teapot"](np.random.default_rng(5))
    moved = [place(part, (3.0, -2.0, 1.0), scale=2.5) for part in parts]
    once = normalise(parts)
    np.testing.assert_allclose(points_of(normalise(once)), points_of(once), atol=1e-5)
    np.testing.assert_allclose(points_of(normalise(moved)), points_of(once), atol=1e-5)


def test_place_keeps_normals_on_a_stretched_sphere():
    ball = geometry.ellipsoid((0, 0, 0), 1.0, 0, rows=24)
    egg = place(ball, (1.0, 0, 0), turn=rotation("y", 0.7), scale=(1.0, 2.0, 0.5))
    local = (egg.vertices - [1.0, 0, 0]) @ rotation("y", 0.7) / np.square([1.0, 2.0, 0.5])
    truth = local / np.linalg.norm(local, axis=1, keepdims=True) @ rotation("y", 0.7).T
    np.testing.assert_allclose(egg.normals, truth, atol=0.02)


@pytest.mark.parametrize(
    ("part", "truth"),
    [
        (geometry.ellipsoid((1, 2, 3), (0.5, 0.7, 0.9), 0, rows=48), 4 / 3 * np.pi * 0.5 * 0.7 * 0.9),
        (geometry.torus(0.6, 0.2, 0, rows=48, columns=128), 2 * np.pi**2 * 0.6 * 0.2**2),
        (geometry.rounded_box((0, 0, 0), (0.5, 0.6, 0.7), 0, bevel=0.001), 8 * 0.5 * 0.6 * 0.7),
        (geometry.tube([(0, 0, 0), (0, 0, 2)], 0.3, 0, columns=64), np.pi * 0.09 * 2 + 4 / 3 * np.pi * 0.027),
        (geometry.extrusion([(0, 0), (1, 0), (1, 1), (0, 1)], 0.5, 0, bevel=0.001), 1.0),
        (SoftBody([cone((0, 0, 0), None, 0.5)]).mesh(), 4 / 3 * np.pi * 0.125),
    ],
    ids=["ellipsoid", "torus", "box", "tube", "extrusion", "soft ball"],
)
def test_volume_of_a_solid(part, truth):
    assert volume([part]) == pytest.approx(truth, rel=0.02)


def test_soft_body_normals_and_surface_points_of_a_ball():
    ball = SoftBody([cone((0.1, 0.2, 0.3), None, 0.5)])
    mesh = ball.mesh()
    truth = (mesh.vertices - [0.1, 0.2, 0.3]) / 0.5
    np.testing.assert_allclose(mesh.normals, truth, atol=0.02)
    np.testing.assert_allclose(ball.surface((0.1, 0.2, 0.3), (0, -1, 0)), [0.1, -0.3, 0.3], atol=0.01)


def test_vessel_wall_is_nowhere_thinner_than_asked():
    outer = spline([(0.3, 0), (0.34, 0.1), (0.6, 0.85), (0.25, 1.5), (0.36, 1.7)], 400)
    inside = geometry.inner_wall(outer, 0.06, 0.08, 60)
    hollow = inside[inside[:, 0] > 0.02]
    gap = np.linalg.norm(hollow[:, None] - outer[None], axis=2).min(axis=1)
    assert gap.min() > 0.055


def test_spline_passes_through_its_points_and_rounded_keeps_ends():
    controls = np.array([(0.0, 0.0), (0.5, 0.2), (0.4, 0.9), (0.1, 1.0)])
    curve = spline(controls, 2000)
    assert np.linalg.norm(curve[None] - controls[:, None], axis=2).min(axis=1).max() < 2e-3
    corner = rounded(controls, 0.1)
    np.testing.assert_allclose(corner[[0, -1]], controls[[0, -1]])
