"""The light and the table of previews: what any light does, and what a shadow does."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from slipcast.pipeline.exporters.lighting import KEY, Table, lit
from slipcast.pipeline.exporters.preview import render_mesh
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.srgb import to_linear, to_srgb
from slipcast.systems.types import Mesh

FRONT = orbit_camera(0.0, 0.2)
GREY = (0.9, 0.9, 0.88)


def mesh_of(made: trimesh.Trimesh) -> Mesh:
    return Mesh(
        np.asarray(made.vertices, np.float32),
        np.asarray(made.faces, np.int32),
        np.asarray(made.vertex_normals, np.float32),
    )


def ball(radius: float = 0.5, up: float = 0.0) -> Mesh:
    return mesh_of(trimesh.creation.icosphere(3, radius).apply_translation([0, 0, up]))


def shine(
    colour: float, roughness: float, metallic: float = 0.0, occlusion: float = 1.0, facing: float = 0.1
) -> np.ndarray:
    """sRGB [N, 3] of a ball's points that face the camera by a cosine at least, all of one grey."""
    mesh = ball()
    seen = (mesh.normals @ FRONT.cam_to_world[:3, 2].numpy()) > facing
    points, normals = mesh.vertices[seen], mesh.normals[seen]
    orm = np.tile(np.array([occlusion, roughness, metallic], np.float32), (len(points), 1))
    return lit(np.full_like(points, colour), normals, points, orm, FRONT)


def test_srgb_there_and_back() -> None:
    values = np.linspace(0, 1, 1001, dtype=np.float32)
    np.testing.assert_allclose(to_srgb(to_linear(values)), values, atol=1e-5)
    np.testing.assert_allclose(to_linear(np.array([0.5], np.float32)), 0.21404, atol=1e-5)  # IEC 61966-2-1


@pytest.mark.parametrize("roughness", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("metallic", [0.0, 1.0])
def test_brighter_paint_is_brighter_and_nothing_leaves_the_range(roughness: float, metallic: float) -> None:
    dark, bright = shine(0.2, roughness, metallic), shine(0.8, roughness, metallic)
    assert (bright >= dark).all() and bright.mean() > dark.mean() + 0.05
    for picture in (dark, bright, shine(0.0, roughness, metallic), shine(1.0, roughness, metallic)):
        assert np.isfinite(picture).all() and picture.min() >= 0 and picture.max() <= 1


def test_smooth_black_mirrors_the_box_in_a_small_bright_spot_and_rough_black_hardly() -> None:
    smooth, rough = (shine(0.0, roughness, facing=0.5)[:, 0] for roughness in (0.05, 1.0))
    assert smooth.max() > 0.5 > 0.35 > rough.max()
    assert (smooth > 0.4).mean() < 0.3


def test_it_is_brightest_towards_the_soft_box_and_crevices_are_darker() -> None:
    mesh, axes = ball(), FRONT.cam_to_world[:3, :3].numpy()
    light = lit(np.full_like(mesh.vertices, 0.5), mesh.normals, mesh.vertices, None, FRONT)[:, 0]
    seen, towards = mesh.normals @ axes[:, 2] > 0.4, mesh.normals @ (axes @ KEY)
    assert light[seen & (towards > 0.9)].min() > light[seen & (towards < 0.1)].max()
    assert (shine(0.5, 0.5, occlusion=0.3) < shine(0.5, 0.5)).all()


def test_a_mesh_without_maps_is_one_of_middling_gloss() -> None:
    mesh = ball()
    with_maps = np.tile(np.array([1, 0.4, 0], np.float32), (len(mesh.vertices), 1))
    colours = np.full_like(mesh.vertices, 0.5)
    np.testing.assert_allclose(
        lit(colours, mesh.normals, mesh.vertices, None, FRONT),
        lit(colours, mesh.normals, mesh.vertices, with_maps, FRONT),
        atol=1e-6,
    )


def test_the_shadow_of_a_ball_is_round_darkest_below_and_gone_far_away() -> None:
    shadow = Table.under(ball()).shadow
    middle = len(shadow) // 2
    assert shadow[middle, middle] == shadow.max() > 0.3
    np.testing.assert_allclose(shadow, shadow.T, atol=0.02)
    np.testing.assert_allclose(shadow, shadow[::-1, ::-1], atol=0.02)
    across = shadow[middle, middle:]
    assert (np.diff(across) < 1e-3).all() and across[-1] < 0.01


@pytest.mark.parametrize("size, up", [(0.01, 0.0), (0.5, -3.0), (40.0, 7.0)])
def test_a_shadow_knows_no_size_and_no_place(size: float, up: float) -> None:
    table = Table.under(ball(size, up))
    np.testing.assert_allclose(table.shadow, Table.under(ball()).shadow, atol=1e-3)
    assert table.height == pytest.approx(up - size, rel=1e-4)


def test_what_stands_darkens_the_table_more_than_what_hangs_over_it() -> None:
    box = trimesh.creation.box((1, 1, 0.2))
    hanging = trimesh.util.concatenate(
        [box, trimesh.creation.icosphere(2, 0.05).apply_translation([0, 0, -0.6])]
    )

    def below(made: trimesh.Trimesh) -> float:
        shadow = Table.under(mesh_of(made)).shadow
        quarter = len(shadow) // 2 + int(0.3 * len(shadow) / 3.2)
        return float(shadow[quarter, quarter])

    assert isinstance(hanging, trimesh.Trimesh)
    assert below(box) > 2 * below(hanging)


def test_the_table_is_the_background_but_for_its_shadow_and_the_outline_is_that_of_any_shading() -> None:
    mesh = mesh_of(trimesh.creation.cylinder(0.3, 0.8))
    picture, alpha = render_mesh(mesh, FRONT, 256, GREY, shading="table")
    np.testing.assert_array_equal(alpha, render_mesh(mesh, FRONT, 256, GREY, shading="soft")[1])
    np.testing.assert_allclose(
        picture[:8].reshape(-1, 3), np.tile(np.array(GREY, np.float32), (2048, 1)), atol=1e-3
    )
    foot = int(np.flatnonzero(alpha[:, 128])[-1])
    assert (picture[foot + 1, 128] < picture[240, 8] - 0.05).all()


@pytest.mark.parametrize("elevation", [-1.2, -0.3, 0.0, 1.57])
def test_any_camera_sees_a_finite_picture(elevation: float) -> None:
    picture, _ = render_mesh(ball(), orbit_camera(0.7, elevation), 24, GREY, shading="table")
    assert np.isfinite(picture).all() and picture.min() >= 0 and picture.max() <= 1
