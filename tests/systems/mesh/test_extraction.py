"""Surfaces against shapes whose volume, genus and orientation are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fakes.solid_fields import SPHERE_RADIUS, SPHERE_VOLUME, TORUS_VOLUME, SolidField, sphere, torus
from hypothesis import given, settings
from hypothesis import strategies as st

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.systems.field.density_sampling import SampledDensity, sample_density
from slipcast.systems.field.iso_level import auto_threshold
from slipcast.systems.mesh.cleaning import keep_large_components, vertex_normals
from slipcast.systems.mesh.decimation import MAX_FACES, decimate
from slipcast.systems.mesh.extraction import _halved, extract_surface
from slipcast.systems.mesh.marching_cubes import marching_cubes
from slipcast.systems.mesh.report import euler_number, is_watertight, report, silhouette_iou


@pytest.mark.parametrize("threshold", [100.0, "auto"])
def test_sphere_has_its_volume_and_faces_outward(threshold: float | str) -> None:
    facts = report(
        extract_surface(SolidField(sphere), resolution=64, threshold=threshold, target_faces=3000).reduced
    )
    assert facts.volume == pytest.approx(SPHERE_VOLUME, rel=0.01)
    assert facts.watertight and facts.outward and facts.components == 1 and facts.euler_number == 2
    assert facts.faces <= 3000


@pytest.mark.parametrize("threshold", [5.0, 20.0, 60.0])
def test_the_surface_is_where_the_density_is_the_threshold(threshold: float) -> None:
    # Linear in the radius: density 80 at the centre, 0 at 0.8, so the threshold alone decides the radius.
    mesh = extract_surface(
        lambda points: ((0.8 - points.norm(dim=1)).clamp_min(0) * 100, points),
        resolution=64,
        threshold=threshold,
    ).reduced
    radii = np.linalg.norm(mesh.vertices, axis=1)
    assert radii.mean() == pytest.approx(0.8 - threshold / 100, abs=0.006)


def test_torus_keeps_its_hole_when_decimated() -> None:
    facts = report(
        extract_surface(
            SolidField(torus, softness=0.03), resolution=64, threshold=100.0, target_faces=1500
        ).reduced
    )
    assert facts.euler_number == 0 and facts.components == 1
    assert facts.watertight and facts.outward
    assert facts.faces <= 1500
    assert facts.volume == pytest.approx(TORUS_VOLUME, rel=0.03)


def test_hard_voxels_leave_no_steps() -> None:
    # Steps of half a voxel (0.016) would stand out; a smooth sphere deviates by a small part of a voxel.
    mesh = extract_surface(SolidField(sphere), resolution=64, threshold=100.0, target_faces=20_000).reduced
    radii = np.linalg.norm(mesh.vertices, axis=1)
    assert np.abs(radii - SPHERE_RADIUS).max() < 0.011 and radii.std() < 0.003


def test_normals_are_the_spheres() -> None:
    mesh = extract_surface(
        SolidField(sphere, softness=0.05), resolution=64, threshold=100.0, target_faces=3000
    ).reduced
    truth = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)
    assert (mesh.normals * truth).sum(1).min() > 0.99


def test_a_shape_that_leaves_the_box_is_closed_at_the_border() -> None:
    facts = report(
        extract_surface(SolidField(lambda p: p[:, 2] - 0.2), resolution=32, threshold=100.0).reduced
    )
    assert facts.watertight and facts.outward
    half = 1 / 31  # The last node is solid, the next one air: the wall stands half a grid step outside.
    assert facts.volume == pytest.approx((2 + 2 * half) ** 2 * (1.2 + half), rel=0.02)


def test_crumbs_and_cavities_are_removed_but_a_real_second_part_stays() -> None:
    def distance(points: torch.Tensor) -> torch.Tensor:
        balls = [((-0.4, 0, 0), 0.4), ((0.6, 0, 0), 0.25), ((0.0, 0.0, 0.85), 0.07)]
        union = torch.stack([(points - torch.tensor(c)).norm(dim=1) - r for c, r in balls]).min(0).values
        cavity = 0.2 - (points - torch.tensor([-0.4, 0, 0])).norm(dim=1)
        return torch.maximum(union, cavity)

    facts = report(
        extract_surface(SolidField(distance, softness=0.02), resolution=64, threshold=100.0).reduced
    )
    assert facts.components == 2 and facts.outward
    assert facts.volume == pytest.approx(4 / 3 * math.pi * (0.4**3 + 0.25**3), rel=0.03)


def test_auto_threshold_shows_the_fields_own_outline_through_fog() -> None:
    density = sample_density(SolidField(torus, peak=80, softness=0.04), 64)
    for fog in (0.0, 0.05):
        seen = density + fog
        level = auto_threshold(seen)

        def agreement(threshold: float, seen: np.ndarray = seen) -> float:
            shown = [1 - np.exp(-seen.sum(axis) * 2 / 63) for axis in range(3)]
            return np.mean(
                [
                    silhouette_iou(s, np.asarray(seen > threshold).any(axis=k).astype(float))
                    for k, s in enumerate(shown)
                ]
            ).item()

        assert agreement(level) > 0.96
        assert agreement(level) > max(agreement(79.0), agreement(fog * 1.01)) + 0.02


@pytest.mark.parametrize(("peak", "threshold"), [(0.0, "auto"), (0.1, "auto"), (50.0, 60.0)])
def test_an_empty_field_is_said_in_a_sentence_with_both_numbers(peak: float, threshold: float | str) -> None:
    with pytest.raises(SlipcastError, match=rf"highest density is {peak:g}") as error:
        extract_surface(SolidField(sphere, peak=peak), resolution=24, threshold=threshold)
    assert str(threshold).removesuffix(".0") in str(error.value)


def test_bad_arguments_and_a_diverged_field_are_refused() -> None:
    with pytest.raises(BadInput, match="'auto' or a density"):
        extract_surface(SolidField(sphere), resolution=16, threshold="automatic")
    with pytest.raises(BadInput, match="at least 8"):
        extract_surface(SolidField(sphere), resolution=4)
    with pytest.raises(SlipcastError, match="not finite"):
        extract_surface(SolidField(sphere, peak=math.nan), resolution=16)


def test_chunks_do_not_change_the_density() -> None:
    field = SolidField(torus, softness=0.1)
    np.testing.assert_allclose(sample_density(field, 20), sample_density(field, 20, chunk=777), rtol=1e-5)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_noise_still_gives_a_closed_small_mesh(seed: int) -> None:
    grid = torch.rand((1, 1, 12, 12, 12), generator=torch.Generator().manual_seed(seed)) * 60

    def field(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        value = torch.nn.functional.grid_sample(grid, points.view(1, -1, 1, 1, 3), align_corners=True)
        return value.view(-1), points

    facts = report(extract_surface(field, resolution=32, threshold=30.0, target_faces=2000).reduced)
    assert facts.watertight and facts.outward and facts.faces <= MAX_FACES


def test_cleaning_keeps_what_it_must() -> None:
    tetrahedron = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
    assert is_watertight(tetrahedron) and euler_number(tetrahedron) == 2
    assert not is_watertight(tetrahedron[:3]) and not is_watertight(tetrahedron[:, ::-1][[0, 0, 1, 2]])
    assert not is_watertight(np.concatenate([tetrahedron[:3], tetrahedron[3:, ::-1]]))
    vertices = np.concatenate([corners, corners * 0.1 + 3])
    kept, faces = keep_large_components(vertices, np.concatenate([tetrahedron, tetrahedron + 4]), 0.03)
    np.testing.assert_array_equal(kept, corners)
    assert len(faces) == 4
    assert decimate(corners, tetrahedron, 100)[1] is tetrahedron
    normals = vertex_normals(corners, tetrahedron)
    np.testing.assert_allclose(normals[0], np.full(3, -(3**-0.5)), atol=1e-6)


CENTRE = np.array([0.13, -0.07, 0.21], np.float32)


def radius_and_centre(sampled: SampledDensity, level: float) -> tuple[float, np.ndarray]:
    vertices, faces = marching_cubes(sampled, level)
    assert is_watertight(faces) and euler_number(faces) == 2
    corners = vertices[faces]
    cones = np.linalg.det(corners) / 6
    centre = np.einsum("f,fc->c", cones, corners.sum(axis=1)) / 4 / cones.sum()
    return (cones.sum() * 3 / 4 / math.pi) ** (1 / 3), centre


@pytest.mark.parametrize("resolution", [64, 65, 80, 97])
@pytest.mark.parametrize(("peak", "softness", "threshold"), [(200, 0, 30), (200, 0, 180), (200, 0.1, 100)])
def test_a_grid_halved_once_and_again_keeps_radius_and_centre(
    resolution: int, peak: float, softness: float, threshold: float
) -> None:
    """The blur takes about 1 / r cells off a ball of r cells, and as much again at each halving."""
    ball = SolidField(lambda p: (p - torch.from_numpy(CENTRE)).norm(dim=1) - 0.6, peak, softness)
    sampled = SampledDensity.whole(sample_density(ball, resolution))
    before, centre = radius_and_centre(sampled, threshold)
    np.testing.assert_allclose(centre, CENTRE, atol=0.05 * 2 / resolution)
    once = _halved(sampled, threshold)
    for level in (once, _halved(once, 0.5)):
        cell = 2 / (len(level.density) - 1)
        after, centre = radius_and_centre(level, 0.5)
        np.testing.assert_allclose(centre, CENTRE, atol=0.05 * cell)
        assert after == pytest.approx(before, abs=0.35 * cell)


@pytest.mark.parametrize("threshold", [30.0, 100.0, 180.0])
def test_a_density_that_is_the_threshold_in_places_is_cut_there(threshold: float) -> None:
    """Plateaus at the threshold count as air: the surface runs between their last node and the first one above."""

    def stairs(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        depth = 0.7 - points.norm(dim=1)
        return threshold * ((depth > 0).float() + (depth > 0.2).float()), points

    facts = report(extract_surface(stairs, resolution=48, threshold=threshold, target_faces=3000).reduced)
    assert facts.watertight and facts.outward and facts.components == 1
    radius = (facts.volume * 3 / 4 / math.pi) ** (1 / 3)
    assert 0.5 - 0.1 * 2 / 47 < radius < 0.5 + 2 / 47
