"""Atlases: inside the picture, without overlap, full; and which point of the surface each texel shows."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
import torch
from fakes.solid_fields import SolidField, torus
from scipy.spatial import KDTree

from slipcast.configs.errors import BadInput, SlipcastError
from slipcast.systems.field.voxels import FrozenGrid, cell_centres
from slipcast.systems.mesh.extraction import extract_surface
from slipcast.systems.mesh.report import edge_pairs, face_components, report, uv_layers
from slipcast.systems.texture import atlas
from slipcast.systems.texture.atlas import atlas_report, unwrap
from slipcast.systems.texture.texels import nearest_inside, surface_texels
from slipcast.systems.types import Mesh

FIELD = SolidField(torus, peak=400.0)
SIZE = 256


@pytest.fixture(scope="module")
def bare() -> Mesh:
    return extract_surface(FIELD, resolution=48, target_faces=2000).reduced


@pytest.fixture(scope="module")
def unwrapped(bare: Mesh) -> Mesh:
    return unwrap(bare, size=1024)


def two_triangles(uv: list[list[float]]) -> Mesh:
    """Two faces without a common vertex; uv of six corners."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1]], np.float32)
    normals = np.tile(np.array([0, 0, 1], np.float32), (6, 1))
    return Mesh(corners, np.array([[0, 1, 2], [3, 4, 5]], np.int32), normals, uv=np.array(uv, np.float32))


def test_charts_fill_most_of_the_picture_and_do_not_overlap(unwrapped: Mesh) -> None:
    facts = atlas_report(unwrapped, 1024)
    assert facts.in_range and facts.overlap == 0
    assert facts.used >= 0.6
    assert 2 <= facts.charts < 60


def test_steps_of_voxels_do_not_cut_the_atlas_to_pieces() -> None:
    """How many charts one surface falls into hangs on its last bits (17 to 63 of these), so the median counts."""
    charts = []
    for count in (48, 52, 56):
        solid = (torus(cell_centres(count)) < 0).reshape(count, count, count)
        field = FrozenGrid(solid.float(), torch.zeros(count, count, count, 3))
        mesh = unwrap(extract_surface(field, resolution=96, target_faces=12_000).reduced)
        facts = atlas_report(mesh)
        charts.append(facts.charts)
        assert facts.overlap == 0
    assert statistics.median(charts) < 60


@pytest.mark.parametrize("size", [64, 128, 256, 512, 1024])
def test_cells_to_pack_on_are_never_smaller_than_texels(size: int) -> None:
    """With them, an atlas of 64 texels takes longer than one of 1024."""
    assert size / 3 <= max(atlas._grids(size)) <= size


def test_a_large_texture_takes_the_first_packing_that_is_enough(
    bare: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, packings = atlas._packed, []

    def counted(*arguments: Any) -> Mesh | None:
        packings.append(packed(*arguments))
        return packings[-1]

    monkeypatch.setattr(atlas, "_packed", counted)
    used = atlas_report(unwrap(bare, size=2048), 2048).used
    assert used >= 0.6 and len(packings) < 16


def test_gaps_widen_as_far_as_the_atlas_stays_full(bare: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, asked = atlas._packed, []

    def noted(*arguments: Any) -> Mesh | None:
        asked.append(arguments[-1])
        return packed(*arguments)

    monkeypatch.setattr(atlas, "_packed", noted)
    monkeypatch.setattr(atlas, "ENOUGH", 0.4)
    wide = unwrap(bare, size=256)
    assert asked[-1] > 5, "there is room for more than the narrowest gap"
    assert atlas_report(wide, 256).used >= 0.38
    assert smallest_gap(wide, 256) >= asked[-1] - 1
    asked.clear()
    monkeypatch.setattr(atlas, "ENOUGH", 0.99)
    unwrap(bare, size=64)
    assert set(asked) == {5}


def smallest_gap(mesh: Mesh, size: int) -> float:
    """Texels between the centres of the closest two of different charts."""
    texels = surface_texels(mesh, size)
    inside = (texels.weights >= 0).all(axis=1)
    chart = face_components(mesh.faces)[texels.face][inside]
    place = np.stack(np.divmod(texels.index[inside], size), 1)
    return min(
        float(KDTree(place[chart != k]).query(place[chart == k])[0].min())
        for k in range(chart.max() + 1)
        if (chart == k).any()
    )


def test_five_texels_lie_between_charts(unwrapped: Mesh) -> None:
    texels = surface_texels(unwrapped, 1024)
    chart = np.full(1024 * 1024, -1)
    chart[texels.index] = face_components(unwrapped.faces)[texels.face]
    chart[uv_layers(unwrapped, 1024).reshape(-1) == 0] = -1
    chart = chart.reshape(1024, 1024)
    for step in (1, 2, 3, 4, 5):
        for one, other in ((chart[:, step:], chart[:, :-step]), (chart[step:], chart[:-step])):
            both = (one >= 0) & (other >= 0)
            assert (one == other)[both].all()


def test_unwrapping_keeps_faces_in_order_and_shape(bare: Mesh, unwrapped: Mesh) -> None:
    np.testing.assert_array_equal(unwrapped.vertices[unwrapped.faces], bare.vertices[bare.faces])
    np.testing.assert_array_equal(unwrapped.normals[unwrapped.faces], bare.normals[bare.faces])
    assert report(unwrapped).watertight


def test_texels_are_about_as_large_everywhere(unwrapped: Mesh) -> None:
    assert unwrapped.uv is not None
    a, b, c = (unwrapped.vertices[unwrapped.faces[:, k]] for k in range(3))
    solid = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    u, v = (unwrapped.uv[unwrapped.faces[:, k]] - unwrapped.uv[unwrapped.faces[:, 0]] for k in (1, 2))
    flat = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    scale = np.sqrt(flat / solid)
    assert np.percentile(scale, 95) / np.percentile(scale, 5) < 1.6


def test_overlaps_and_places_outside_are_told() -> None:
    whole = [[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]]
    facts = atlas_report(two_triangles(whole + [[0.9, 0.9], [0.1, 0.9], [0.9, 0.1]]), 64)
    assert facts.overlap == 0 and facts.charts == 2 and facts.in_range
    assert facts.used == pytest.approx(0.64, abs=0.03)
    assert atlas_report(two_triangles(whole + whole), 64).overlap == 1
    half = [[0.1, 0.1], [0.5, 0.1], [0.1, 0.9]]
    assert atlas_report(two_triangles(whole + half), 64).overlap == pytest.approx(0.5, abs=0.03)
    assert not atlas_report(two_triangles(whole + [[0.1, 0.1], [1.2, 0.1], [0.1, 0.3]]), 64).in_range


def test_edges_are_paired_once(bare: Mesh) -> None:
    edge, twin = edge_pairs(bare.faces)
    assert len(edge) == len(bare.faces) * 3 / 2 and (edge < twin).all()
    start, end = bare.faces.reshape(-1), np.roll(bare.faces, -1, axis=1).reshape(-1)
    np.testing.assert_array_equal(start[edge], end[twin])
    np.testing.assert_array_equal(end[edge], start[twin])


def test_each_texel_knows_its_point_also_beyond_the_edge() -> None:
    # Position is an affine function of uv, so that the truth is known anywhere.
    corners = np.array([[0.2, 0.2], [0.8, 0.25], [0.3, 0.8]], np.float32)
    mesh = Mesh(
        np.concatenate([corners, corners.sum(1, keepdims=True)], 1),
        np.array([[0, 1, 2]], np.int32),
        np.tile(np.array([0, 0, 1], np.float32), (3, 1)),
        uv=corners,
    )
    texels = surface_texels(mesh, SIZE)
    uv = np.stack([texels.index % SIZE + 0.5, SIZE - 0.5 - texels.index // SIZE], 1) / SIZE
    found = texels.interpolate(mesh.vertices, mesh.faces)
    np.testing.assert_allclose(found, np.concatenate([uv, uv.sum(1, keepdims=True)], 1), atol=1e-5)
    beyond = (texels.weights < -1e-6).any(axis=1).sum()
    perimeter = SIZE * sum(np.linalg.norm(corners[k] - corners[k - 1]) for k in range(3))
    assert 5.5 * perimeter < beyond < 7 * perimeter


def test_pictures_have_no_gaps_and_keep_the_texels(unwrapped: Mesh) -> None:
    texels = surface_texels(unwrapped, 128)
    values = np.random.default_rng(0).random((len(texels), 2)).astype(np.float32)
    picture = texels.picture(values)
    np.testing.assert_array_equal(picture.reshape(-1, 2)[texels.index], values)
    assert values.min() <= picture.min() and picture.max() <= values.max()
    assert sum(part.stop - part.start for part in texels.pieces(1000)) >= len(texels)


def test_the_nearest_inside_is_the_nearest() -> None:
    covered = np.random.default_rng(0).random((20, 30)) < 0.05
    found = nearest_inside(covered)
    inside = np.argwhere(covered)
    for index, (i, j) in enumerate(np.ndindex(20, 30)):
        distance = ((inside - (i, j)) ** 2).sum(1)
        assert ((np.array(divmod(found[index], 30)) - (i, j)) ** 2).sum() == distance.min()


def test_what_cannot_be_baked_is_refused(unwrapped: Mesh) -> None:
    with pytest.raises(ValueError, match="unwrap first"):
        surface_texels(unwrapped.with_(uv=None), 64)
    with pytest.raises(BadInput, match="16 texels"):
        surface_texels(unwrapped, 8)
    assert unwrapped.uv is not None
    with pytest.raises(SlipcastError, match="no texel"):
        surface_texels(unwrapped.with_(uv=unwrapped.uv * 0), 64)
    with pytest.raises(ValueError, match="unwrap first"):
        atlas_report(unwrapped.with_(uv=None))
