"""Pictures of a mesh: the right side at the right place, the same outline as the field, and files that play."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.solid_fields import SPHERE_RADIUS, SolidField, sphere, torus
from PIL import Image, ImageSequence

from slipcast.configs.errors import BadInput
from slipcast.pipeline.exporters.preview import (
    preview_sheet,
    render_mesh,
    render_views,
    ring_cameras,
    write_turntable,
)
from slipcast.systems.field.cameras import camera_rays, orbit_camera
from slipcast.systems.field.volume_rendering import render_rays
from slipcast.systems.mesh.extraction import extract_surface
from slipcast.systems.mesh.report import silhouette_iou
from slipcast.systems.texture.atlas import unwrap
from slipcast.systems.texture.colour_baking import bake
from slipcast.systems.texture.lookup import sample_texture, shrink_to_footprint
from slipcast.systems.types import Mesh, SubjectImage

RED, GREEN, BLUE, GREY = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.6, 0.6, 0.6)


def markers(points: torch.Tensor) -> torch.Tensor:
    """Grey with a red spot in front (-Y), a green one on the right hand (+X) and a blue one on top (+Z)."""
    color = torch.tensor(GREY).repeat(len(points), 1)
    for axis, sign, spot in ((1, -1, RED), (0, 1, GREEN), (2, 1, BLUE)):
        centre = torch.zeros(3)
        centre[axis] = sign * SPHERE_RADIUS
        color[(points - centre).norm(dim=1) < 0.2] = torch.tensor(spot)
    return color


@pytest.fixture(scope="module")
def ball() -> Mesh:
    field = SolidField(sphere, peak=400.0, color=markers)
    return bake(
        unwrap(extract_surface(field, resolution=48, target_faces=2000).reduced, size=256), field, size=256
    )


@pytest.fixture(scope="module")
def ring() -> Mesh:
    field = SolidField(torus, peak=400.0)
    return bake(
        unwrap(extract_surface(field, resolution=64, target_faces=3000).reduced, size=512), field, size=512
    )


def where(picture: np.ndarray, color: tuple[float, float, float]) -> np.ndarray:
    """Centre of the pixels of one colour, (row, column) as parts of the picture; NaN if there are none."""
    found = np.argwhere(np.abs(picture - color).max(axis=2) < 0.1)
    return found.mean(axis=0) / len(picture) if len(found) else np.full(2, np.nan)


def test_each_camera_sees_the_marker_of_its_side(ball: Mesh) -> None:
    front, right, back, left = (
        render_mesh(ball, orbit_camera(math.radians(a), 0.0), 96, shading="none")[0]
        for a in (0, 90, 180, 270)
    )
    np.testing.assert_allclose(where(front, RED), [0.5, 0.5], atol=0.02)
    np.testing.assert_allclose(where(right, GREEN), [0.5, 0.5], atol=0.02)
    assert np.isnan(where(back, RED)).all() and np.isnan(where(left, GREEN)).all()
    top = render_mesh(ball, orbit_camera(0.0, math.radians(89)), 96, shading="none")[0]
    np.testing.assert_allclose(where(top, BLUE), [0.5, 0.5], atol=0.02)


def test_from_the_front_right_and_above_the_markers_lie_where_they_should(ball: Mesh) -> None:
    picture, _ = render_mesh(ball, orbit_camera(math.radians(45), math.radians(30)), 96, shading="none")
    assert where(picture, RED)[1] < 0.5 < where(picture, GREEN)[1]
    assert where(picture, BLUE)[0] < 0.5 < where(picture, RED)[0]


def test_the_outline_has_the_size_that_perspective_gives(ball: Mesh) -> None:
    _, alpha = render_mesh(ball, orbit_camera(0.3, 0.2), 128)
    # A sphere's outline is a cone tangent to it.
    radius = math.tan(math.asin(SPHERE_RADIUS / 4.5)) / math.tan(math.radians(15)) * 64
    assert alpha.sum() == pytest.approx(math.pi * radius**2, rel=0.02)
    assert 0 < ((alpha > 0) & (alpha < 1)).sum() < 4 * math.pi * radius  # smooth edges, and only edges


def test_the_mesh_looks_like_the_field(ring: Mesh) -> None:
    field, camera, size = SolidField(torus, peak=400.0), orbit_camera(0.4, 0.5), 64
    with torch.no_grad():
        truth = render_rays(field, *camera_rays(camera, size), samples=192, background=torch.ones(3))
    picture, alpha = render_mesh(ring, camera, size, shading="none", supersample=4)
    assert silhouette_iou(alpha, truth.opacity.reshape(size, size).numpy()) > 0.96
    inside = (alpha == 1) & (truth.opacity.reshape(size, size).numpy() > 0.99)
    difference = np.abs(picture - truth.rgb.reshape(size, size, 3).numpy())[inside]
    assert difference.mean() < 3 / 255


def test_seams_do_not_show(ring: Mesh) -> None:
    assert ring.uv is not None and ring.texture is not None
    corners = ring.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    uv, points = ring.uv[corners].mean(axis=1), ring.vertices[corners].mean(axis=1)
    for texture in (ring.texture, shrink_to_footprint(ring, np.asarray(ring.uv * 100, float))):
        error = np.abs(sample_texture(texture, uv) - (points + 1) / 2)
        assert error.max() < 0.06 and error.mean() < 0.01
    assert len(shrink_to_footprint(ring, np.asarray(ring.uv * 100, float))) == 128


def test_background_alpha_and_plain_colours(ball: Mesh) -> None:
    bright = ball.with_(texture=np.full((32, 32, 3), (200, 100, 50), np.uint8))
    picture, alpha = render_mesh(bright, orbit_camera(0.0, 0.0), 48, (0.0, 0.0, 1.0), shading="none")
    assert picture.dtype == alpha.dtype == np.float32
    np.testing.assert_allclose(picture[0, 0], (0, 0, 1))
    expected = alpha[..., None] * np.array([200, 100, 50]) / 255 + (1 - alpha[..., None]) * np.array(
        [0, 0, 1]
    )
    np.testing.assert_allclose(picture, expected, atol=1e-5)


def test_soft_light_comes_from_the_viewers_upper_left(ball: Mesh) -> None:
    clay = ball.with_(uv=None, texture=None)
    for azimuth in (0.0, 2.0):
        picture, _ = render_mesh(clay, orbit_camera(azimuth, 0.2), 64)
        assert picture[26, 26].mean() > picture[38, 38].mean() + 0.05
    with pytest.raises(BadInput, match="none, soft, table, not 'hard'"):
        render_mesh(clay, orbit_camera(0.0, 0.0), 16, shading="hard")


def test_many_views_equal_single_ones(ball: Mesh) -> None:
    cameras = ring_cameras(3)
    for (rgb, alpha), camera in zip(render_views(ball, cameras, 32), cameras, strict=True):
        single_rgb, single_alpha = render_mesh(ball, camera, 32)
        np.testing.assert_array_equal(rgb, single_rgb)
        np.testing.assert_array_equal(alpha, single_alpha)


def test_the_sheet_shows_the_subject_and_eight_views(ball: Mesh, tmp_path: Path) -> None:
    subject = SubjectImage(np.full((20, 20, 3), (0.1, 0.2, 0.3), np.float32), np.ones((20, 20), np.float32))
    sheet = preview_sheet(subject, ball, tmp_path / "preview.png", size=64)
    assert sheet.shape == (128, 384, 3)
    np.testing.assert_allclose(sheet[64, 64], [26, 51, 77], atol=1)
    views = [sheet[64 * r : 64 * r + 64, 64 * c : 64 * c + 64] for r in (0, 1) for c in (2, 3, 4, 5)]
    reds = [((v[..., 0] > 150) & (v[..., 1] < 60)).sum() for v in views]
    assert reds[0] == max(reds) and reds[4] == 0 and reds[1] > 0 and reds[7] > 0
    greens = [((v[..., 1] > 150) & (v[..., 0] < 60)).sum() for v in views]
    assert greens[2] == max(greens) > 0 and greens[6] == 0  # the third view is from +X
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "preview.png")), sheet)


def test_the_turntable_turns_once_and_loops(ball: Mesh, tmp_path: Path) -> None:
    write_turntable(ball, tmp_path / "turn.gif", frames=12, size=64, seconds=1.2)
    with Image.open(tmp_path / "turn.gif") as file:
        assert file.info["loop"] == 0
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(file)]
        assert file.info["duration"] == 100
    assert len(frames) == 12
    reds = [((f[..., 0] > 150) & (f[..., 1] < 60)).sum() for f in frames]
    assert np.argmax(reds) == 0 and reds[6] == 0
    smaller = tmp_path / "small.gif"
    write_turntable(ball, smaller, frames=12, size=64, max_bytes=(tmp_path / "turn.gif").stat().st_size - 1)
    assert smaller.stat().st_size < (tmp_path / "turn.gif").stat().st_size


def test_other_turntables_are_refused(ball: Mesh, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\.gif or \.mp4"):
        write_turntable(ball, tmp_path / "turn.webm")
    with pytest.raises(BadInput, match="at least 1 frame"):
        write_turntable(ball, tmp_path / "turn.gif", frames=0)
