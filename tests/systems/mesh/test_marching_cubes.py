"""Marching cubes: one vertex per grid edge, two faces per edge, whatever the values at the nodes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipcast.systems.field.density_sampling import SampledDensity
from slipcast.systems.mesh.marching_cubes import marching_cubes
from slipcast.systems.mesh.report import directed_edges, euler_number, is_watertight, signed_volume


def grid(count: int) -> tuple[np.ndarray, ...]:
    axis = np.linspace(-1, 1, count, dtype=np.float32)
    return np.meshgrid(axis, axis, axis, indexing="ij")


def ball(count: int, x: float, radius: float) -> np.ndarray:
    """Depth below the surface."""
    across, deep, up = grid(count)
    return radius - np.sqrt((across - x) ** 2 + deep**2 + up**2)


def crossings(density: np.ndarray, level: float) -> int:
    """Grid edges with just one end above the level, air all round."""
    solid = np.pad(density > level, 1)
    return sum(int(np.count_nonzero(np.diff(solid, axis=axis))) for axis in range(3))


def check(density: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = marching_cubes(SampledDensity.whole(density), level)
    assert len(vertices) == crossings(density, level)
    assert is_watertight(faces)
    return vertices, faces


def test_two_spheres_with_nodes_on_the_level() -> None:
    """Several vertices in one place took each other's faces, and the search for shared edges never ended."""
    depth = np.maximum(ball(56, -0.5, 0.35), ball(56, 0.5, 0.3))
    density = (0.5 + 10 * depth).clip(0, 1).astype(np.float32)
    density[np.abs(density - 0.5) < 1e-6] = 0.5
    assert np.count_nonzero(density == 0.5) >= 12
    vertices, faces = check(density, 0.5)
    assert euler_number(faces) == 4
    assert signed_volume(vertices, faces) == pytest.approx(4 / 3 * np.pi * (0.35**3 + 0.3**3), rel=0.01)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    level=st.sampled_from([0.5, 1 / 3, 7.3, 100.0]),
    count=st.sampled_from([9, 13, 20]),
)
def test_any_values_at_the_level_just_below_and_just_above(seed: int, level: float, count: int) -> None:
    some = np.float32(level)
    near = [
        0,
        np.nextafter(some, np.float32(0)),
        some,
        np.nextafter(some, np.float32(np.inf)),
        2 * some,
        5 * some,
    ]
    values = np.random.default_rng(seed).choice(np.array(near, np.float32), (count,) * 3)
    vertices, faces = marching_cubes(SampledDensity.whole(values), level)
    assert is_watertight(faces) and len(np.unique(vertices, axis=0)) == len(vertices)


def test_no_two_cells_join_the_same_vertices() -> None:
    """Exhaustive: all 4096 ways in which two neighbouring cells can be solid and air, along each axis."""
    bits = (np.arange(4096)[:, None] >> np.arange(12)) & 1
    for axis in range(3):
        pair = np.insert([2, 2], axis, 3)
        cells = np.pad(bits.reshape(4096, *pair), [(0, 0)] + [(1, 1)] * 3)  # air keeps them apart
        many = cells.reshape(16, 16, 16, *cells.shape[1:]).transpose(0, 3, 1, 4, 2, 5)
        density = np.zeros((80,) * 3, np.float32)
        inner = many.reshape(16 * (pair[0] + 2), 16 * (pair[1] + 2), 16 * (pair[2] + 2))
        density[tuple(slice(edge) for edge in inner.shape)] = inner
        _, faces = check(density, 0.5)
        start, end = directed_edges(faces)
        assert len(np.unique(start * (faces.max() + 1) + end)) == faces.size
