"""What the manifest says of a texture: seams against known steps, likeness against known errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import trimesh
from fakes.solid_fields import SPHERE_RADIUS, SolidField, sphere

from slipcast.systems.mesh.cleaning import vertex_normals
from slipcast.systems.texture.atlas import unwrap
from slipcast.systems.texture.colour_baking import bake
from slipcast.systems.texture.lookup import mip_level
from slipcast.systems.texture.quality import bake_psnr, seam_difference, seams
from slipcast.systems.types import Mesh

FIELD = SolidField(sphere, peak=2000.0)
SIZE = 256


@pytest.fixture(scope="module")
def ball() -> Mesh:
    shape = trimesh.creation.icosphere(subdivisions=4, radius=SPHERE_RADIUS)
    vertices, faces = np.asarray(shape.vertices, np.float32), np.asarray(shape.faces, np.int32)
    return bake(unwrap(Mesh(vertices, faces, vertex_normals(vertices, faces)), size=SIZE), FIELD, size=SIZE)


def folded(left: int, right: int) -> Mesh:
    """Two triangles with a common edge in space, whose charts lie apart: one all ``left``, the other all ``right``."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    uv = np.array([[0.05, 0.1], [0.4, 0.1], [0.05, 0.9], [0.95, 0.1], [0.95, 0.9], [0.6, 0.9]], np.float32)
    texture = np.full((64, 64, 3), left, np.uint8)
    texture[:, 32:] = right
    normals = np.tile(np.array([0, 0, 1], np.float32), (6, 1))
    return Mesh(corners, np.array([[0, 1, 2], [3, 4, 5]], np.int32), normals, uv=uv, texture=texture)


def test_a_step_across_a_seam_is_told_in_8_bit_steps() -> None:
    one, other = seams(folded(0, 0))
    np.testing.assert_allclose(one, [[[0.4, 0.1], [0.05, 0.9]]])
    np.testing.assert_allclose(other, [[[0.95, 0.1], [0.6, 0.9]]])
    assert seam_difference(folded(80, 80)).median == 0
    told = seam_difference(folded(80, 87), per_edge=5)
    assert told.points == 5 and told.median == pytest.approx(7, abs=1e-3) == told.percentile_95


def test_one_channel_is_enough_for_a_seam() -> None:
    mesh = folded(80, 80)
    assert mesh.texture is not None
    texture = mesh.texture.copy()
    texture[:, 32:, 2] += 12
    assert seam_difference(mesh.with_(texture=texture)).median == pytest.approx(12, abs=1e-3)


def test_seams_are_seen_in_mip_maps_too() -> None:
    mesh = folded(80, 87)
    assert seam_difference(mesh, mip=1).percentile_95 == pytest.approx(7, abs=1e-3)
    # The last level is one texel, the same for both sides.
    assert seam_difference(mesh, mip=6).percentile_95 == 0
    assert mesh.texture is not None
    stripes = mesh.texture.copy()
    stripes[:, ::2] += 40
    told = seam_difference(mesh.with_(texture=stripes), mip=1)
    assert told.percentile_95 == pytest.approx(7, abs=1e-3)
    assert mip_level(stripes, 1).shape == (32, 32, 3) and mip_level(stripes, 1)[0, 0, 0] == 100
    assert mip_level(stripes[:50, :21], 4).shape == (3, 1, 3)


def test_edges_inside_a_chart_are_no_seams() -> None:
    mesh = folded(0, 255)
    joined = Mesh(
        mesh.vertices[[0, 1, 2, 4]],
        np.array([[0, 1, 2], [1, 3, 2]], np.int32),
        mesh.normals[:4],
        uv=np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32),
        texture=mesh.texture,
    )
    assert seam_difference(joined).points == 0


def test_seams_of_a_baked_mesh_do_not_show(ball: Mesh) -> None:
    told = seam_difference(ball)
    assert told.points > 100
    assert told.median < 0.7 and told.percentile_95 < 2


def test_a_baked_mesh_looks_like_its_field(ball: Mesh) -> None:
    told = bake_psnr(ball, FIELD, views=3, size=64, samples=512)
    assert told is not None and told > 40


def test_the_likeness_is_the_error_in_db(ball: Mesh) -> None:
    # A field of one grey, not quite opaque, a texture of another: the mean squared error is known.
    grey = SolidField(sphere, peak=4.0, color=lambda p: torch.full((len(p), 3), 0.4))
    assert ball.texture is not None
    flat = ball.with_(texture=np.full_like(ball.texture, round(0.5 * 255)))
    told = bake_psnr(flat, grey, views=2, size=48, samples=256)
    assert told == pytest.approx(-20 * math.log10(128 / 255 - 0.4), abs=0.1)


def test_nothing_opaque_is_no_likeness(ball: Mesh) -> None:
    assert bake_psnr(ball, SolidField(sphere, peak=0.5), views=2, size=32) is None


def test_a_texture_turned_upside_down_is_noticed(ball: Mesh) -> None:
    assert ball.texture is not None
    wrong = bake_psnr(ball.with_(texture=ball.texture[::-1].copy()), FIELD, views=3, size=48)
    assert wrong is not None and wrong < 20


def test_a_mesh_without_texture_is_refused(ball: Mesh) -> None:
    with pytest.raises(ValueError, match="uv and texture"):
        seam_difference(ball.with_(texture=None))
    with pytest.raises(ValueError, match="uv and texture"):
        bake_psnr(ball.with_(texture=None), FIELD, views=1, size=16)
