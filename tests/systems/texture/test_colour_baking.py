"""Atlases and baked colours against fields whose colour is a known function of position."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes.solid_fields import SolidField, position_color, torus

from slipcast.configs.errors import BadInput
from slipcast.systems.mesh.extraction import extract_surface
from slipcast.systems.mesh.rasterizer import EMPTY, interpolate, rasterize
from slipcast.systems.mesh.report import report, uv_layers
from slipcast.systems.texture.atlas import unwrap
from slipcast.systems.texture.colour_baking import bake, surface_colors
from slipcast.systems.texture.texels import push_pull
from slipcast.systems.types import Mesh

FIELD = SolidField(torus, peak=400.0)
SIZE = 512


@pytest.fixture(scope="module")
def unwrapped() -> Mesh:
    return unwrap(extract_surface(FIELD, resolution=64, target_faces=2500).reduced, size=SIZE)


@pytest.fixture(scope="module")
def baked(unwrapped: Mesh) -> Mesh:
    return bake(unwrapped, FIELD, size=SIZE)


def test_the_atlas_is_inside_the_picture_and_charts_do_not_overlap(unwrapped: Mesh) -> None:
    assert unwrapped.uv is not None
    assert unwrapped.uv.min() >= 0 and unwrapped.uv.max() <= 1
    layers = uv_layers(unwrapped, 1024)
    assert layers.max() == 1
    assert (layers > 0).mean() > 0.3


def test_overlapping_charts_are_counted() -> None:
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 0.01], [0.01, 1], [1, 1]], np.float32)
    mesh = Mesh(
        np.zeros((6, 3), np.float32),
        np.array([[0, 1, 2], [3, 5, 4]]),
        np.zeros((6, 3), np.float32),
        uv=corners,
    )
    assert uv_layers(mesh, 32).max() == 1
    assert uv_layers(mesh.with_(uv=corners * 0.5, faces=np.array([[0, 1, 2], [0, 3, 2]])), 32).max() == 2


def test_unwrapping_changes_neither_shape_nor_normals(unwrapped: Mesh) -> None:
    before = extract_surface(FIELD, resolution=64, target_faces=2500).reduced
    assert report(unwrapped) == pytest.approx(report(before))
    lookup = {tuple(v): n for v, n in zip(before.vertices, before.normals, strict=True)}
    np.testing.assert_array_equal(unwrapped.normals, [lookup[tuple(v)] for v in unwrapped.vertices])


def test_baked_colours_are_the_fields_at_the_surface(baked: Mesh) -> None:
    assert baked.uv is not None and baked.texture is not None
    texels = np.stack([baked.uv[:, 0], 1 - baked.uv[:, 1]], 1) * SIZE
    face, weights = rasterize(texels, np.ones(len(texels)), baked.faces, SIZE, SIZE)
    points = interpolate(baked.vertices, baked.faces, face, weights)
    error = np.abs(baked.texture[face != EMPTY] / 255 - position_color(torch.as_tensor(points)).numpy())
    assert error.mean() < 2 / 255
    assert error.max() < 12 / 255


def test_v_points_up(baked: Mesh) -> None:
    assert baked.uv is not None and baked.texture is not None
    row = ((1 - baked.uv[:, 1]) * SIZE).astype(int).clip(0, SIZE - 1)
    column = (baked.uv[:, 0] * SIZE).astype(int).clip(0, SIZE - 1)
    truth = (baked.vertices + 1) / 2
    # Corners lie on chart borders: their texel may be a filled one, one texel away.
    assert np.abs(baked.texture[row, column] / 255 - truth).mean() < 3 / 255


def test_the_colour_of_empty_air_and_of_the_inside_never_shows(unwrapped: Mesh) -> None:
    def shells(points: torch.Tensor) -> torch.Tensor:
        inside = -torus(points)
        color = torch.tensor([1.0, 0.0, 1.0]).repeat(len(points), 1)  # air
        color[inside > 0] = torch.tensor([0.0, 1.0, 0.0])  # skin
        color[inside > 0.03] = torch.tensor([1.0, 0.0, 0.0])  # core
        return color

    texture = bake(unwrapped, SolidField(torus, peak=400.0, color=shells), size=128).texture
    assert texture is not None
    assert np.abs(texture.astype(int) - [0, 255, 0]).max() <= 2


def test_a_thin_wall_keeps_its_two_colours_apart() -> None:
    # Outside blue, inside orange, 0.03 thick: what lies behind the wall has no weight on either side.
    def colour(points: torch.Tensor) -> torch.Tensor:
        outer = (points[:, 0] > 0)[:, None]
        return torch.where(outer, torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.5, 0.0]))

    wall = SolidField(lambda p: p[:, 0].abs() - 0.015, peak=400.0, color=colour)
    points = np.array([[0.015, 0.2, 0.1], [-0.015, 0.2, 0.1]], np.float32)
    normals = np.array([[1, 0, 0], [-1, 0, 0]], np.float32)
    np.testing.assert_allclose(surface_colors(wall, points, normals), [[0, 0, 1], [1, 0.5, 0]], atol=0.02)


def test_points_off_the_field_take_the_colour_where_they_are() -> None:
    points = np.array([[0.1, -0.2, 0.3]], np.float32)
    empty = SolidField(torus, peak=0.0)
    colors = surface_colors(empty, points, np.array([[0, 0, 1]], np.float32))
    np.testing.assert_allclose(colors, (points + 1) / 2, atol=0.005)


@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
def test_every_mip_map_shows_the_mean_of_what_its_texels_cover(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    covered = rng.random(shape) < 0.03
    image = rng.random((*shape, 3)).astype(np.float32)
    filled = push_pull(image, covered)
    np.testing.assert_array_equal(filled[covered], image[covered])
    for cell in (2, 4, 8):
        for i, j in np.ndindex(shape[0] // cell, shape[1] // cell):
            part = np.s_[i * cell : (i + 1) * cell, j * cell : (j + 1) * cell]
            four = [
                np.s_[k : k + cell // 2, m : m + cell // 2] for k in (0, cell // 2) for m in (0, cell // 2)
            ]
            empty = [quarter for quarter in four if not covered[part][quarter].any()]
            if covered[part].any():
                mean = image[part][covered[part]].mean(0)
                for quarter in empty:
                    np.testing.assert_allclose(filled[part][quarter].reshape(-1, 3) - mean, 0, atol=1e-5)


def test_a_lone_colour_fills_everything_in_its_own_type() -> None:
    image = np.zeros((17, 30, 2), np.uint8)
    image[3, 4] = (7, 200)
    covered = image[..., 0] > 0
    filled = push_pull(image, covered)
    assert filled.dtype == np.uint8 and (filled == (7, 200)).all()


def test_charts_are_padded_by_eight_texels_and_more(baked: Mesh) -> None:
    assert baked.texture is not None
    covered = uv_layers(baked, SIZE) > 0
    # The position field is never black, an unfilled texel would be.
    assert (baked.texture[~covered].max(axis=1) > 0).all()


def test_supersampling_keeps_the_colours(unwrapped: Mesh, baked: Mesh) -> None:
    fine = bake(unwrapped, FIELD, size=SIZE // 2, supersample=2).texture
    assert fine is not None and baked.texture is not None and fine.shape == (SIZE // 2, SIZE // 2, 3)
    covered = uv_layers(unwrapped, SIZE // 2) > 0
    coarse = baked.texture.reshape(SIZE // 2, 2, SIZE // 2, 2, 3).mean(axis=(1, 3))
    assert np.abs(fine - coarse)[covered].mean() < 2


def test_bad_arguments_are_refused(unwrapped: Mesh) -> None:
    with pytest.raises(BadInput, match="16 texels"):
        bake(unwrapped, FIELD, size=4)
    with pytest.raises(ValueError, match="unwrap first"):
        bake(unwrapped.with_(uv=None), FIELD)


def test_the_rasteriser_is_perspective_correct_and_draws_the_nearest() -> None:
    # A floor triangle from depth 1 to depth 3; the middle of its picture lies at depth 1.5, not 2.
    pixels = np.array([[0, 0], [0, 16], [16, 0], [0, 0], [0, 16], [16, 0]], float)
    depth = np.array([1, 1, 3, 4, 4, 4], float)
    face, weights = rasterize(pixels, depth, np.array([[3, 4, 5], [0, 1, 2]]), 16, 16)
    assert set(np.unique(face)) == {EMPTY, 1}
    at = interpolate(depth[:, None], np.array([[3, 4, 5], [0, 1, 2]]), face, weights)
    columns = np.nonzero(face != EMPTY)[1] + 0.5
    np.testing.assert_allclose(1 / at[:, 0], 1 - columns / 16 * (1 - 1 / 3), rtol=1e-5)
    behind, _ = rasterize(pixels, -depth, np.array([[0, 1, 2]]), 16, 16)
    assert (behind == EMPTY).all()
