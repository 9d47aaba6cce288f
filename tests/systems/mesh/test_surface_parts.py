"""Blocks against whole grids, vertices on the level, sharp edges, levels of detail."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from fakes.solid_fields import SPHERE_RADIUS, SPHERE_VOLUME, SolidField, sphere, torus
from scipy.spatial import Delaunay

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.systems.field.density_sampling import (
    InterpolatesGrid,
    SampledDensity,
    look_at,
    sample_density,
    sample_near_surface,
)
from slipcast.systems.field.voxels import VoxelField
from slipcast.systems.mesh import extraction
from slipcast.systems.mesh.cleaning import smooth, vertex_normals
from slipcast.systems.mesh.extraction import extract_surface, levels_of_detail
from slipcast.systems.mesh.hard_edges import split_creases
from slipcast.systems.mesh.level_set import pull_to_level
from slipcast.systems.mesh.marching_cubes import marching_cubes
from slipcast.systems.mesh.report import is_watertight, report
from slipcast.systems.types import Mesh, RadianceField


def blobs(resolution: int = 40, seed: int = 0) -> VoxelField:
    """Thin walls and tunnels: the level set of noise, in a field that interpolates its own grid."""
    coarse = torch.randn(1, 1, 9, 9, 9, generator=torch.Generator().manual_seed(seed))
    raw = torch.nn.functional.interpolate(coarse, (resolution,) * 3, mode="trilinear", align_corners=True)[
        0, 0
    ]
    return VoxelField(4 * raw - 1, torch.zeros(*raw.shape, 3)).requires_grad_(False)


@pytest.mark.parametrize(
    ("field", "resolution"),
    [(blobs(), 90), (SolidField(torus, softness=0.02), 160), (SolidField(lambda p: p[:, 2] - 0.2), 150)],
    ids=["voxels", "function", "cut by the box"],
)
def test_blocks_give_the_same_surface_as_the_whole_grid(field: RadianceField, resolution: int) -> None:
    look = look_at(field, resolution)
    level = 0.4 * float(look.density.max())
    some = sample_near_surface(field, resolution, level, look)
    assert isinstance(field, VoxelField) == isinstance(field, InterpolatesGrid) == look.exact
    assert not some.asked.all()
    vertices, faces = marching_cubes(some, level)
    whole, whole_faces = marching_cubes(SampledDensity.whole(sample_density(field, resolution)), level)
    assert len(faces) == len(whole_faces) > 1000 and is_watertight(faces)
    np.testing.assert_allclose(in_order(vertices), in_order(whole), atol=1e-5)


def in_order(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.round(4).T)]


def test_few_blocks_of_a_sphere_are_asked() -> None:
    class Counting(SolidField):
        asked = 0

        def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            self.asked += len(points)
            return super().__call__(points)

    field = Counting(sphere, softness=0.02)
    look = look_at(field, 256)
    sample_near_surface(field, 256, 40.0, look)
    assert field.asked < 256**3 / 3


def test_vertices_are_pulled_onto_the_level() -> None:
    field = SolidField(sphere, softness=0.05)
    ball = trimesh.creation.icosphere(subdivisions=4, radius=SPHERE_RADIUS)
    faces = np.asarray(ball.faces)
    moved = ball.vertices + np.random.default_rng(0).normal(0, 0.005, ball.vertices.shape)
    pulled = pull_to_level(field, moved, faces, field.peak / 2, 1 / 39)
    off = [np.abs(np.linalg.norm(some, axis=1) - SPHERE_RADIUS) for some in (moved, pulled)]
    assert off[0].max() > 0.008 and off[1].max() < 1e-4
    # Farther than it may go, a vertex stays.
    np.testing.assert_array_equal(pull_to_level(field, moved * 1.3, faces, field.peak / 2, 0.01), moved * 1.3)


def test_smoothing_along_normals_flattens_steps_and_leaves_a_plane_where_it_is() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(size=(400, 2))
    faces = Delaunay(points).simplices.astype(np.int64)  # counter-clockwise
    plane = np.column_stack([points, np.zeros(len(points))])
    np.testing.assert_allclose(smooth(plane, faces, 20, along_normals=True), plane, atol=1e-12)
    assert np.abs(smooth(plane, faces, 20) - plane).max() > 0.01
    stepped = plane + [0, 0, 0.002] * rng.choice([-1, 1], (len(points), 1))
    smoothed = smooth(stepped, faces, 20, along_normals=True)
    assert smoothed[:, 2].std() < 0.5 * stepped[:, 2].std()


def test_a_piece_inside_another_is_removed() -> None:
    def shell_around_a_ball(points: torch.Tensor) -> torch.Tensor:
        radius = points.norm(dim=1)
        return torch.minimum((radius - 0.65).abs() - 0.15, radius - 0.3)

    facts = report(extract_surface(SolidField(shell_around_a_ball), resolution=64, threshold=100.0).reduced)
    assert facts.components == 1 and facts.watertight
    assert facts.volume == pytest.approx(4 / 3 * np.pi * 0.8**3, rel=0.03)


def test_a_full_field_is_refused_in_a_sentence() -> None:
    def full(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((len(points),), 50.0), torch.zeros(len(points), 3)

    with pytest.raises(SlipcastError, match="fills its whole box: its lowest density, 50, is not below"):
        extract_surface(full, resolution=16, threshold=20.0)


def cube() -> Mesh:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    return Mesh(corners, faces, vertex_normals(corners, faces))


def test_the_edges_of_a_cube_are_creases_and_the_diagonals_of_its_sides_are_not() -> None:
    assert split_creases(cube(), np.pi) is not None and len(split_creases(cube(), np.pi).vertices) == 8
    sharp = split_creases(cube(), np.radians(40))
    assert len(sharp.vertices) == 24 and len(sharp.faces) == 12
    a, b, c = (sharp.vertices[sharp.faces[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    for k in range(3):
        np.testing.assert_allclose(sharp.normals[sharp.faces[:, k]], flat, atol=1e-6)
    assert report(sharp).watertight


def test_a_crease_angle_of_90_degrees_leaves_the_cube_smooth() -> None:
    assert len(split_creases(cube(), np.radians(90)).vertices) == 8
    assert len(split_creases(cube(), np.radians(89)).vertices) == 24


def test_levels_of_detail_are_closed_and_about_as_small_as_wanted() -> None:
    mesh = extract_surface(
        SolidField(torus, softness=0.03), resolution=64, threshold=100.0, target_faces=4000
    ).reduced
    levels = levels_of_detail(mesh)
    wanted = [len(mesh.faces) * share for share in (1, 0.5, 0.25, 0.1)]
    assert [len(level.faces) for level in levels] == pytest.approx(wanted, rel=0.03)
    assert all(report(level).watertight and report(level).euler_number == 0 for level in levels)
    with pytest.raises(BadInput, match="above 0 and up to 1"):
        levels_of_detail(mesh, [0.5, 1.5])


def test_every_vertex_of_the_fine_surface_lies_on_the_level() -> None:
    """Smoothing moves vertices off the level set; they are put back, by the field itself and not by its grid."""
    for field, distance in (
        (SolidField(sphere, softness=0.1), sphere),
        (SolidField(torus, softness=0.1), torus),
    ):
        fine = extract_surface(field, resolution=48, threshold=100.0).fine
        assert distance(torch.from_numpy(fine.vertices)).abs().max() < 2e-4


def test_no_vertex_is_pulled_farther_than_half_a_grid_step() -> None:
    """Between its nodes this field is a larger ball, with a surface more than half a step away, less than one."""
    resolution = 49
    half_step = 1 / (resolution - 1)

    def two_faced(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        place = (points + 1) / (2 * half_step)
        at_node = ((place - place.round()).abs() < 1e-3).all(dim=1)
        radius = SPHERE_RADIUS + 1.5 * half_step * ~at_node
        return 200 * torch.sigmoid((radius - points.norm(dim=1)) * 200), points

    fine = extract_surface(two_faced, resolution=resolution, threshold=100.0).fine
    radii = np.linalg.norm(fine.vertices, axis=1)
    assert np.abs(radii - SPHERE_RADIUS).max() < 1.1 * half_step


@pytest.mark.parametrize(("lowest", "full"), [(20.0, True), (20.001, True), (19.0, False), (0.0, False)])
def test_a_field_is_full_if_nothing_of_it_is_below_the_threshold(lowest: float, full: bool) -> None:
    """One spot that is emptier is enough for a surface."""

    def field(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        corner = (points > 0.5).all(dim=1)
        return torch.where(corner, lowest, 50.0), points

    if full:
        with pytest.raises(SlipcastError, match="fills its whole box"):
            extract_surface(field, resolution=24, threshold=20.0)
    else:
        facts = report(extract_surface(field, resolution=24, threshold=20.0).reduced)
        assert facts.watertight and facts.outward and facts.euler_number == 2
        assert facts.volume == pytest.approx((2 + 2 / 23) ** 3 - 0.5**3, rel=0.03)


def test_a_mesh_too_large_for_decimation_is_halved_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coarser grid shows the same ball, and the same one at any level: in a hard field all levels are one."""
    whole = extract_surface(SolidField(sphere), resolution=64, threshold=100.0).fine
    monkeypatch.setattr(extraction, "_SPONGE_FACES", 100)
    monkeypatch.setattr(extraction, "_SPONGE_SHARE", 0)
    low, high = (extract_surface(SolidField(sphere), resolution=64, threshold=some) for some in (20.0, 100.0))
    assert (low.threshold, high.threshold) == (20.0, 100.0)
    np.testing.assert_allclose(low.fine.vertices, high.fine.vertices, atol=1e-5)
    assert len(low.fine.faces) == pytest.approx(len(whole.faces) / 4, rel=0.05)
    facts = report(low.fine)
    assert facts.watertight and facts.outward and facts.euler_number == 2
    assert facts.volume ** (1 / 3) == pytest.approx(SPHERE_VOLUME ** (1 / 3), rel=0.02)
    assert np.abs(low.fine.vertices.mean(axis=0)).max() < 2 / 63, "within a step of the grid"
