"""Laws of where an exported object stands, how large it is, how its axes turn and how its tangents lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fakes.pot import pot
from hypothesis import given
from hypothesis import strategies as st

from slipcast.configs.errors import SlipcastError
from slipcast.pipeline.assets.placing import into_view, place
from slipcast.pipeline.exporters.axes import from_y_up, to_y_up
from slipcast.pipeline.exporters.preview import ring_cameras
from slipcast.systems.field.cameras import project
from slipcast.systems.texture.tangents import vertex_tangents
from slipcast.systems.types import Mesh

SHIFTS = st.tuples(*[st.floats(-2, 2, width=32)] * 3)
HEIGHTS = st.one_of(st.none(), st.floats(0.01, 500))
POT = pot()


@given(SHIFTS, st.floats(0.1, 10), HEIGHTS)
def test_it_stands_on_the_ground_in_the_middle(shift: Any, factor: float, height: float | None) -> None:
    moved = POT.with_(vertices=(POT.vertices * np.float32(factor) + np.array(shift, np.float32)))
    low, high = _bounds(place(moved, height))
    size = high - low
    assert low[2] == 0
    np.testing.assert_allclose(low[:2], -high[:2], atol=1e-6 * size.max())
    extent = np.ptp(moved.vertices[:, 2].astype(np.float64)) if height is None else height
    assert high[2] == pytest.approx(extent, rel=1e-6)


@given(SHIFTS, st.floats(0.1, 10))
def test_where_it_was_and_how_large_does_not_matter_once_a_height_is_given(shift: Any, factor: float) -> None:
    moved = POT.with_(vertices=(POT.vertices * np.float32(factor) + np.array(shift, np.float32)))
    np.testing.assert_allclose(place(moved, 0.3).vertices, place(POT, 0.3).vertices, atol=1e-5)


def test_a_height_is_a_height_even_of_wide_things() -> None:
    wide = POT.with_(vertices=POT.vertices * np.array([9, 1, 1], np.float32))
    placed = place(wide, 0.3)
    assert np.ptp(placed.vertices[:, 2]) == pytest.approx(0.3) and np.ptp(placed.vertices[:, 0]) > 1


def test_placing_twice_is_placing_once() -> None:
    once = place(POT, 0.3)
    np.testing.assert_allclose(place(once, 0.3).vertices, once.vertices, atol=1e-7)
    np.testing.assert_allclose(place(place(POT)).vertices, place(POT).vertices, atol=1e-7)


@pytest.mark.parametrize("height", [None, 0.3, 120.0])
def test_proportions_stay_and_nothing_but_the_vertices_changes(height: float | None) -> None:
    placed = place(POT, height)
    ratio = np.ptp(placed.vertices, axis=0) / np.ptp(POT.vertices, axis=0)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert height is not None or ratio[0] == pytest.approx(1)
    for name in ("faces", "normals", "uv", "texture", "normal_map", "orm"):
        assert getattr(placed, name) is getattr(POT, name)
    assert placed.vertices.dtype == np.float32


@pytest.mark.parametrize(
    ("mesh", "said"),
    [
        (POT.with_(vertices=POT.vertices * np.array([1, 1, 0], np.float32)), "flat mesh"),
        (POT.with_(faces=POT.faces[:0]), "empty"),
        (POT.with_(vertices=POT.vertices * np.float32(np.nan)), "not finite"),
        (POT.with_(normals=POT.normals + np.float32(np.inf)), "not finite"),
    ],
)
def test_what_cannot_be_placed_is_said_in_a_sentence(mesh: Mesh, said: str) -> None:
    with pytest.raises(SlipcastError, match=said), np.errstate(invalid="ignore"):
        place(mesh, 0.3)


@given(SHIFTS, st.floats(0.001, 100))
def test_every_camera_sees_all_of_it(shift: Any, factor: float) -> None:
    shown = into_view(POT.with_(vertices=(POT.vertices * np.float32(factor) + np.array(shift, np.float32))))
    for camera in ring_cameras(5):
        pixels, _ = project(camera, torch.as_tensor(shown.vertices), 100)
        assert pixels.min() >= 0 and pixels.max() <= 100
    assert np.ptp(shown.vertices[:, 2]) > 1


def test_the_turn_to_y_up_is_a_rotation_and_exact() -> None:
    np.testing.assert_array_equal(from_y_up(to_y_up(POT.vertices)), POT.vertices)
    np.testing.assert_array_equal(to_y_up(np.array([[0, 0, 1], [0, -1, 0], [1, 0, 0]], np.float32)),
                                  [[0, 1, 0], [0, 0, 1], [1, 0, 0]])  # fmt: skip
    assert np.linalg.det(to_y_up(np.eye(3, dtype=np.float32))) == 1


def test_tangents_of_a_plane_follow_u_and_the_sign_tells_mirrored_maps() -> None:
    corners = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    flat = Mesh(corners, faces, np.tile(np.array([0, 0, 1], np.float32), (4, 1)), uv=corners[:, :2] / 4)
    np.testing.assert_allclose(vertex_tangents(flat), np.tile([1, 0, 0, 1], (4, 1)), atol=1e-6)
    mirrored = flat.with_(uv=corners[:, :2] * np.array([-0.25, 0.25], np.float32))
    np.testing.assert_allclose(vertex_tangents(mirrored), np.tile([-1, 0, 0, -1], (4, 1)), atol=1e-6)
    turned = flat.with_(uv=corners[:, [1, 0]] * np.array([1, -1], np.float32))  # u along +y, v along -x
    np.testing.assert_allclose(vertex_tangents(turned), np.tile([0, 1, 0, 1], (4, 1)), atol=1e-6)


def test_tangents_are_unit_across_the_normal_and_point_to_growing_u() -> None:
    tangents = vertex_tangents(POT).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(tangents[:, :3], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose((tangents[:, :3] * POT.normals).sum(1), 0, atol=1e-6)
    assert POT.uv is not None
    # Bitangent w cross(n, t) must point to growing v, which on the egg grows upwards.
    inner = (POT.uv[:, 1] > 0.2) & (POT.uv[:, 1] < 0.8)
    upwards = (tangents[:, 3:] * np.cross(POT.normals, tangents[:, :3]))[inner]
    assert (upwards[:, 2] > 0.3).all()


def test_tangents_without_a_gradient_are_still_directions() -> None:
    tangents = vertex_tangents(POT.with_(uv=np.zeros_like(POT.uv)))
    np.testing.assert_allclose(np.linalg.norm(tangents[:, :3], axis=1), 1, atol=1e-6)
    assert set(np.unique(tangents[:, 3])) <= {-1.0, 1.0}


def _bounds(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    return mesh.vertices.min(0).astype(np.float64), mesh.vertices.max(0).astype(np.float64)
