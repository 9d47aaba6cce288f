"""Normal maps: flat where nothing is lost, true where something is, in the frame that viewers rebuild."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from slipcast.systems.mesh.cleaning import smooth_normals, vertex_normals
from slipcast.systems.mesh.raycasting import MISSED, MeshRays, frames
from slipcast.systems.texture.atlas import unwrap
from slipcast.systems.texture.normal_baking import (
    bake_normals,
    encode,
    fine_normals,
    in_tangent_space,
    without_ripples,
)
from slipcast.systems.texture.tangents import vertex_tangents
from slipcast.systems.texture.texels import surface_texels
from slipcast.systems.types import Mesh

SIZE = 256


def ball(subdivisions: int, bump: float = 0.0) -> Mesh:
    """A sphere of radius 0.6, its points moved outwards by bump * wave(direction), with the normals of its faces."""
    shape = trimesh.creation.icosphere(subdivisions=subdivisions, radius=1.0)
    unit, faces = np.asarray(shape.vertices), np.asarray(shape.faces, np.int32)
    points = unit * (0.6 + bump * wave(unit))[:, None]
    return Mesh(points.astype(np.float32), faces, vertex_normals(points, faces))


def wave(unit: np.ndarray) -> np.ndarray:
    return np.sin(9 * unit[:, 0]) * np.sin(9 * unit[:, 1]) * np.sin(9 * unit[:, 2])


def true_normals(points: np.ndarray, bump: float) -> np.ndarray:
    """Of the surface |p| = 0.6 + bump wave(p / |p|): the gradient of |p| - bump wave, by differences."""

    def level(p: np.ndarray) -> np.ndarray:
        radius = np.linalg.norm(p, axis=1)
        return radius - bump * wave(p / radius[:, None])

    steps = 1e-5 * np.eye(3)
    gradient = np.stack([level(points + s) - level(points - s) for s in steps], 1)
    return gradient / np.linalg.norm(gradient, axis=1, keepdims=True)


def shown(mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a viewer makes of the map, step by step: points, plain normals and mapped normals of the atlas's texels."""
    assert mesh.normal_map is not None
    texels = surface_texels(mesh, SIZE)
    normals = texels.interpolate(mesh.normals.astype(np.float64), mesh.faces)
    tangents = texels.interpolate(vertex_tangents(mesh).astype(np.float64), mesh.faces)
    x, y, z = (mesh.normal_map.reshape(-1, 3)[texels.index] / 127.5 - 1).T[..., None]
    bitangents = np.sign(tangents[:, 3:]) * np.cross(normals, tangents[:, :3])
    mapped = x * tangents[:, :3] + y * bitangents + z * normals
    points = texels.interpolate(mesh.vertices.astype(np.float64), mesh.faces)
    return points, unit(normals), unit(mapped)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.einsum("nk,nk->n", a, b).clip(-1, 1)))


@pytest.fixture(scope="module")
def coarse() -> Mesh:
    return unwrap(ball(3), size=SIZE)


def test_a_mesh_that_lost_nothing_has_a_flat_map(coarse: Mesh) -> None:
    flat = bake_normals(coarse, ball(3), size=SIZE).normal_map
    assert flat is not None and flat.shape == (SIZE, SIZE, 3) and flat.dtype == np.uint8
    off = np.abs(flat.astype(int) - [128, 128, 255]).max(axis=2).reshape(-1)
    texels = surface_texels(coarse, SIZE)
    assert off[texels.index[(texels.weights >= 0).all(axis=1)]].max() <= 1
    assert off.max() <= 2  # the rim lies off the surface


def test_bumps_that_the_mesh_has_lost_are_seen_through_the_map(coarse: Mesh) -> None:
    bump = 0.01
    points, plain, mapped = shown(bake_normals(coarse, ball(6, bump), size=SIZE))
    truth = true_normals(points, bump)
    lost, left = degrees(plain, truth), degrees(mapped, truth)
    assert lost.mean() > 4
    assert left.mean() < 0.1 * lost.mean() and np.percentile(left, 99) < 0.2 * np.percentile(lost, 99)


def test_mirrored_charts_show_the_same(coarse: Mesh) -> None:
    assert coarse.uv is not None
    mirrored = coarse.with_(uv=np.stack([1 - coarse.uv[:, 0], coarse.uv[:, 1]], 1))
    assert (vertex_tangents(mirrored)[:, 3] == -vertex_tangents(coarse)[:, 3]).mean() > 0.95
    points, _, mapped = shown(bake_normals(mirrored, ball(5, 0.01), size=SIZE))
    assert degrees(mapped, true_normals(points, 0.01)).mean() < 1


@given(st.integers(0, 10_000))
def test_a_viewer_gets_back_the_direction_that_was_written(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # As interpolated: neither of unit length nor at a right angle.
    normals = unit(rng.normal(size=(20, 3))) * rng.uniform(0.8, 1, (20, 1))
    across = unit(np.cross(normals, rng.normal(size=(20, 3)))) + rng.normal(0, 0.1, (20, 3))
    sign = rng.choice([-1.0, 1.0], (20, 1))
    directions = unit(unit(normals) + rng.normal(0, 0.3, (20, 3)))
    x, y, z = in_tangent_space(directions, normals, np.concatenate([across, sign], 1)).T[..., None]
    rebuilt = unit(x * across + y * sign * np.cross(normals, across) + z * normals)
    facing = z[:, 0] > 0.06
    np.testing.assert_allclose(rebuilt[facing], directions[facing], atol=1e-6)


def test_directions_behind_the_face_come_out_flat_but_in_front() -> None:
    normals = np.array([[0, 0, 1]], float)
    local = in_tangent_space(unit(np.array([[1, 0, -0.5]])), normals, np.array([[1, 0, 0, 1]], float))
    assert local[0, 0] > 0.99 and 0 < local[0, 2] < 0.1


def test_codes_are_those_of_gltf() -> None:
    axes = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], float)
    np.testing.assert_array_equal(encode(axes), [[128, 128, 255], [255, 128, 128], [128, 0, 128]])


def test_a_thin_wall_is_not_taken_for_its_back() -> None:
    # Two parallel squares 0.01 apart, each looking outwards: from either side only the near one counts.
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    up = np.tile(np.array([0, 0, 1], np.float32), (4, 1))
    wall = Mesh(
        np.concatenate([corners, corners - np.array([0, 0, 0.01], np.float32)]),
        np.array([[0, 1, 2], [0, 2, 3], [4, 6, 5], [4, 7, 6]], np.int32),
        np.concatenate([up, -up]),
    )
    points = np.array([[0.3, 0.4, 0.002], [0.3, 0.4, -0.012]], np.float32)
    normals = np.array([[0, 0, 1], [0, 0, -1]], np.float32)
    np.testing.assert_allclose(fine_normals(wall, MeshRays(wall), points, normals, 0.03), normals, atol=1e-6)
    # A shelf close above the wall, of which a look that starts within it would see the underside from inside.
    shelf = Mesh(
        np.concatenate([wall.vertices, corners + np.array([0, 0, 0.02], np.float32)]),
        np.concatenate([wall.faces, np.array([[8, 10, 9], [8, 11, 10]], np.int32)]),
        np.concatenate([wall.normals, -up]),
    )
    found = fine_normals(shelf, MeshRays(shelf), points[:1], normals[:1], 0.03)
    np.testing.assert_allclose(found, normals[:1], atol=1e-6)
    # Beside the wall nothing is met: its nearest vertices that look the same way decide.
    beside = np.array([[1.2, 0.5, 0]], np.float32)
    found = fine_normals(wall, MeshRays(wall), beside, normals[:1], 0.03)
    np.testing.assert_allclose(found, normals[:1], atol=1e-6)


def test_rays_meet_the_first_face_within_their_length() -> None:
    sphere = ball(3)
    rays = MeshRays(sphere)
    start = np.array([[0, 0, 2], [0, 0, 2], [0, 0, 2]], np.float32)
    way = np.array([[0, 0, -1], [0, 0, 1], [0.1, 0.05, -1]], np.float32)
    hits = rays.first_hits(start, way, 5.0)
    assert hits.face[1] == MISSED and (hits.face[[0, 2]] != MISSED).all()
    met = np.einsum("nk,nkc->nc", hits.weights, sphere.vertices[sphere.faces[hits.face]])[[0, 2]]
    assert np.linalg.norm(met, axis=1) == pytest.approx(0.6, abs=0.01) and (met[:, 2] > 0).all()
    np.testing.assert_allclose(np.cross(met - start[0], way[[0, 2]]), 0, atol=1e-5)
    np.testing.assert_array_equal(rays.blocked(start, way, 5.0), [True, False, True])
    assert not rays.blocked(start, way, 1.0).any() and (rays.first_hits(start, way, 1.0).face == MISSED).all()


@given(st.integers(0, 10_000))
def test_frames_are_orthonormal_right_handed_and_steady(seed: int) -> None:
    normals = unit(np.random.default_rng(seed).normal(size=(50, 3))).astype(np.float32)
    one, two = frames(normals)
    assert np.linalg.det(np.stack([one, two, normals], 2)) == pytest.approx(1, abs=1e-3)
    near = unit(normals + np.array([1e-4, 0, 0], np.float32)).astype(np.float32)
    common = normals @ np.array([0.36, 0.48, 0.8], np.float32) > -0.9
    assert np.abs(frames(near)[0] - one)[common].max() < 5e-3


def test_ripples_of_a_cell_are_averaged_away_and_wide_bends_stay() -> None:
    sphere = ball(5)  # edges of 0.02
    rng = np.random.default_rng(0)
    rough = sphere.with_(normals=unit(sphere.normals + rng.normal(0, 0.15, (len(sphere.normals), 3))))
    smooth = without_ripples(rough, 0.05).normals
    assert degrees(rough.normals, unit(sphere.vertices)).mean() > 8
    assert degrees(smooth, unit(sphere.vertices)).mean() < 1.5
    np.testing.assert_allclose(np.linalg.norm(smooth, axis=1), 1, atol=1e-6)


def test_the_radius_of_smoothing_is_a_standard_deviation() -> None:
    # A regular triangulation of the plane; one vertex is tilted, and its tilt spreads.
    i, j = (n.reshape(-1) for n in np.meshgrid(np.arange(41), np.arange(41), indexing="ij"))
    points = 0.01 * np.stack([i + j / 2, j * np.sqrt(3) / 2, 0 * i], 1)
    a = np.arange(41 * 40).reshape(40, 41)[:, :-1].reshape(-1)
    faces = np.concatenate([np.stack([a, a + 41, a + 1], 1), np.stack([a + 41, a + 42, a + 1], 1)])
    normals = np.tile([0.0, 0, 1], (len(points), 1))
    middle = 20 * 41 + 20
    normals[middle] = unit(np.array([[0.1, 0, 1]]))
    spread = smooth_normals(points, faces, normals, 0.03)[:, 0].astype(np.float64)
    offset = points - points[middle]
    assert np.sqrt((spread * offset[:, 0] ** 2).sum() / spread.sum()) == pytest.approx(0.03, rel=0.05)
    np.testing.assert_array_equal(smooth_normals(points, faces, normals, 0.002), normals.astype(np.float32))
