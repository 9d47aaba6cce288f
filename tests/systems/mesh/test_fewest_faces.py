"""As few faces as asked, whatever the shape and the count: closed, of the same genus, and still the same shape."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import KDTree

from slipcast.starter.generator.objects import make_object
from slipcast.starter.generator.volume import solid_occupancy
from slipcast.systems.field.density_sampling import SampledDensity
from slipcast.systems.mesh.cleaning import face_normals, keep_large_components, smooth, vertex_normals
from slipcast.systems.mesh.collapse import collapse_edges
from slipcast.systems.mesh.decimation import decimate
from slipcast.systems.mesh.extraction import levels_of_detail
from slipcast.systems.mesh.marching_cubes import marching_cubes
from slipcast.systems.mesh.report import (
    euler_number,
    face_components,
    is_outward,
    is_watertight,
    merged,
    signed_volume,
)
from slipcast.systems.types import Mesh

AXIS = torch.linspace(-1, 1, 56)
X, Y, Z = torch.meshgrid(AXIS, AXIS, AXIS, indexing="ij")


def ball(x: float, radius: float) -> torch.Tensor:
    return radius - ((X - x) ** 2 + Y**2 + Z**2).sqrt()


def ring(x: float, large: float, small: float) -> torch.Tensor:
    return small - torch.hypot(torch.hypot(X - x, Z) - large, Y)


DEPTHS = {
    "sphere": ball(0, 0.7),
    "torus": ring(0, 0.6, 0.2),
    "two spheres": torch.maximum(ball(-0.5, 0.361), ball(0.5, 0.313)),
    "thin plate": torch.minimum(0.9 - torch.hypot(X, Y), 0.06 - Z.abs()),
    "mug with a handle": torch.maximum(
        torch.minimum(torch.minimum(0.5 - torch.hypot(X, Y), 0.7 - Z.abs()), -ball(0, 0.4)),
        ring(0.5, 0.35, 0.07),
    ),
}
GENERATED = ("chair", "teapot", "vase")
SHAPES = (*DEPTHS, *GENERATED)


@cache
def shape(name: str) -> tuple[np.ndarray, np.ndarray]:
    """About 10,000 faces."""
    if name in DEPTHS:
        density = (0.5 + 10 * DEPTHS[name]).clamp(0, 1).numpy().astype(np.float32)
    else:
        made = make_object(np.random.default_rng(3), noun=name)
        density = solid_occupancy(made.vertices, made.faces, 64).astype(np.float32)
    vertices, faces = keep_large_components(*marching_cubes(SampledDensity.whole(density), 0.5), 0.03)
    return smooth(vertices, faces, 8), faces


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(KDTree(one).query(other)[0].max())


def check_closed(points: np.ndarray, triangles: np.ndarray, name: str) -> None:
    faces = shape(name)[1]
    assert is_watertight(triangles) and is_outward(points, triangles)
    assert is_watertight(merged(points.astype(np.float32), triangles)[1])
    assert euler_number(triangles) == euler_number(faces)
    assert face_components(triangles).max() == face_components(faces).max()
    assert np.linalg.norm(face_normals(points, triangles), axis=1).min() > 1e-9


@settings(max_examples=10, deadline=None, derandomize=True)
@given(name=st.sampled_from(SHAPES), target=st.integers(100, 20_000))
def test_any_shape_gets_any_count(name: str, target: int) -> None:
    vertices, faces = shape(name)
    points, triangles = decimate(vertices, faces, target)
    check_closed(points, triangles, name)
    if len(faces) > target:
        assert 0.9 * target <= len(triangles) <= target
    corners = points[triangles]
    edge = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
    rng = np.random.default_rng(0)
    area = np.linalg.norm(face_normals(points, triangles), axis=1)
    face = rng.choice(len(area), 20_000, p=area / area.sum())
    sampled = np.einsum("nk,nkc->nc", rng.dirichlet((1, 1, 1), 20_000), corners[face])
    assert max(distance(vertices, sampled), distance(sampled, vertices)) < edge.mean() + 0.05
    assert signed_volume(points, triangles) == pytest.approx(
        signed_volume(vertices, faces), rel=10 * edge.mean()
    )


@pytest.mark.parametrize("name", SHAPES)
def test_fewer_asked_is_never_more(name: str) -> None:
    counts = [len(decimate(*shape(name), target)[1]) for target in (50, 70, 101, 700)]
    assert counts == sorted(counts)
    assert counts[1] <= 1.5 * 70 and counts[2] <= 1.1 * 101


@pytest.mark.parametrize(("name", "fewest"), [("sphere", 4), ("two spheres", 8), ("torus", 14)])
def test_collapses_end_at_the_smallest_surface_of_its_genus(name: str, fewest: int) -> None:
    """A tetrahedron per sphere, and Csaszar's torus of 14 faces, or little more."""
    points, triangles = collapse_edges(*shape(name), 1)
    check_closed(points, triangles, name)
    assert fewest <= len(triangles) <= 2 * fewest


def test_a_flat_surface_loses_its_inner_vertices_and_keeps_its_corners() -> None:
    cut = np.linspace(0, 1, 9)
    sides = []
    for axis in range(3):
        for end in (0, 1):
            corner = np.stack(np.meshgrid(cut, cut, indexing="ij"), -1).reshape(-1, 2)
            points = np.insert(corner, axis, end, axis=1)
            a = (np.arange(8)[:, None] * 9 + np.arange(8)).reshape(-1)
            quads = np.stack([a, a + 9, a + 10, a, a + 10, a + 1], 1).reshape(-1, 3)
            sides.append((points, quads if (end == 1) != (axis == 1) else quads[:, ::-1]))
    points = np.concatenate([p for p, _ in sides])
    vertices, faces = merged(points, np.concatenate([f + 81 * k for k, (_, f) in enumerate(sides)]))
    assert is_watertight(faces) and signed_volume(vertices, faces) == pytest.approx(1)
    points, triangles = collapse_edges(vertices, faces, 12)
    assert len(triangles) == 12 and signed_volume(points, triangles) == pytest.approx(1, abs=0.02)


def test_a_level_is_never_larger_than_the_one_before() -> None:
    vertices, faces = shape("chair")
    mesh = Mesh(vertices.astype(np.float32), faces.astype(np.int32), vertex_normals(vertices, faces))
    counts = [len(level.faces) for level in levels_of_detail(mesh, [0.5, 0.01, 0.004, 0.001, 0.0005])]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == round(len(faces) / 4) * 2 and counts[1] <= 1.1 * 0.01 * len(faces)
