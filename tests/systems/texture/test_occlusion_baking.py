"""Ambient occlusion against closed forms, and its place in the ORM map."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from slipcast.configs.errors import BadInput
from slipcast.configs.schema import ExportConfig
from slipcast.pipeline.assets.preparing import prepare
from slipcast.systems.mesh.cleaning import vertex_normals
from slipcast.systems.texture.atlas import unwrap
from slipcast.systems.texture.occlusion_baking import ROUGHNESS_UNKNOWN, bake_occlusion, trace_occlusion
from slipcast.systems.texture.texels import LOOKUP_REACH, Texels, surface_texels
from slipcast.systems.types import Mesh

FAR = 1e4


def floor_and_wall(length: float = 400.0, height: float = 0.5) -> Mesh:
    """A floor [0, 1] wide and a wall of ``height`` at its edge x = 0, both very long along y, each in half the atlas.

    Their middle metre along y alone lies in the atlas: [0, 1] of it is u, of the floor x is v / 2.
    """
    y = np.array([-length / 2, 0.0, 1.0, length / 2])
    floor = [[x, t, 0.0] for x in (0.0, 1.0) for t in y]
    wall = [[0.0, t, z] for z in (0.0, height) for t in y]
    faces, uv = [], []
    for first, way in ((0, 1), (8, -1)):
        for k in range(3):
            a, b, c, d = first + k, first + 4 + k, first + 5 + k, first + 1 + k
            faces += [[a, b, c][::way], [a, c, d][::way]]
        low = 0.0 if first == 0 else 0.55
        uv += [[u, low + v] for v in (0.0, 0.45) for u in (0.0, 0.0, 1.0, 1.0)]
    up, out = [[0.0, 0.0, 1.0]] * 8, [[1.0, 0.0, 0.0]] * 8
    return Mesh(
        np.array(floor + wall, np.float32),
        np.array(faces, np.int32),
        np.array(up + out, np.float32),
        uv=np.array(uv, np.float32),
    )


def of_floor(mesh: Mesh, size: int, **settings: float) -> tuple[np.ndarray, np.ndarray, Texels]:
    """Distance from the wall and open share of the floor's texels."""
    texels = surface_texels(mesh, size)
    share = trace_occlusion(mesh, texels, rays=int(settings.get("rays", 32)),
                            distance=settings.get("distance", FAR), chunk=100_000)  # fmt: skip
    points = texels.interpolate(mesh.vertices, mesh.faces)
    chosen = (texels.face < 6) & (texels.weights >= 0).all(axis=1)
    return points[chosen, 0], share[chosen], texels


def test_nothing_darkens_a_convex_body() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.6)
    vertices, faces = np.asarray(ball.vertices, np.float32), np.asarray(ball.faces, np.int32)
    mesh = unwrap(Mesh(vertices, faces, vertex_normals(vertices, faces)), size=128)
    orm = bake_occlusion(mesh, size=128).orm
    assert orm is not None and orm[..., 0].min() == 255


def test_beside_a_wall_half_the_sky_is_left_and_farther_off_as_much_as_its_angle_says() -> None:
    x, share, _ = of_floor(floor_and_wall(height=0.5), 64)
    # A long wall of height h takes (1 - x / sqrt(x^2 + h^2)) / 2 of the cosine-weighted sky at a distance x.
    truth = (1 + x / np.sqrt(x**2 + 0.25)) / 2
    inner = (x > 0.06) & (x < 0.94)  # at the border fewer neighbours are averaged
    assert np.abs(share - truth)[inner].mean() < 0.008 and np.abs(share - truth)[inner].max() < 0.03
    corner = share[x < 0.02].mean()
    assert corner == pytest.approx(0.5, abs=0.05)


def test_what_is_farther_than_the_distance_does_not_count() -> None:
    x, share, _ = of_floor(floor_and_wall(height=0.5), 64, distance=0.3)
    assert (share[x > 0.36] == 1).all() and share[x < 0.1].max() < 0.8


def test_more_rays_come_closer_to_the_truth() -> None:
    mesh = floor_and_wall(height=0.5)
    errors = []
    for rays in (2, 32):
        x, share, _ = of_floor(mesh, 64, rays=rays)
        errors.append(np.abs(share - (1 + x / np.sqrt(x**2 + 0.25)) / 2).mean())
    assert errors[1] < 0.4 * errors[0]


def test_the_same_mesh_gives_the_same_map_in_pieces_of_any_size() -> None:
    mesh = floor_and_wall()
    one = bake_occlusion(mesh, size=64).orm
    other = bake_occlusion(mesh, size=64, chunk=777, texels=surface_texels(mesh, 64)).orm
    assert one is not None and other is not None
    np.testing.assert_array_equal(one, other)


def test_a_map_traced_smaller_shows_the_same_shadows() -> None:
    mesh = floor_and_wall()
    whole = bake_occlusion(mesh, size=128, distance=FAR).orm
    small = bake_occlusion(mesh, size=128, traced_size=64, distance=FAR).orm
    assert whole is not None and small is not None and small.shape == whole.shape
    inside = surface_texels(mesh, 128, rim=LOOKUP_REACH).index
    difference = np.abs(whole.astype(int) - small).reshape(-1, 3)[inside]
    assert difference.mean() < 0.6 and np.percentile(difference, 99) < 6


def test_averaging_stays_inside_charts() -> None:
    # The wall's lower half sees the floor, the floor beside it in the atlas does not know.
    mesh = floor_and_wall(height=0.5)
    assert mesh.uv is not None
    shifted = mesh.uv.copy()
    shifted[8:, 1] -= 0.55 - 0.45  # the wall's chart right above the floor's far side, which is bright
    touching = mesh.with_(uv=shifted)
    x, apart, _ = of_floor(mesh, 64)
    x2, together, _ = of_floor(touching, 64)
    far, far2 = x > 0.97, x2 > 0.97
    assert apart[far].mean() == pytest.approx(together[far2].mean(), abs=0.004)


def test_the_map_is_packed_for_the_export_which_fills_in_the_roughness() -> None:
    mesh = bake_occlusion(floor_and_wall(), size=64)
    assert mesh.orm is not None and mesh.orm.dtype == np.uint8
    assert (mesh.orm[..., 1] == ROUGHNESS_UNKNOWN).all() and (mesh.orm[..., 2] == 0).all()
    assert mesh.orm[..., 0].min() < 140 and mesh.orm[..., 0].max() > 220
    asset = prepare(mesh, ExportConfig(), name="x", prompt="", seed=0, models={"domain": {"roughness": 0.2}})
    assert asset.mesh.orm is not None and (asset.mesh.orm[..., 1] == 51).all()
    np.testing.assert_array_equal(asset.mesh.orm[..., 0], mesh.orm[..., 0])


def test_bad_arguments_are_refused() -> None:
    for wrong in ({"rays": 0}, {"distance": 0.0}):
        with pytest.raises(BadInput, match="at least 1 ray and a distance above 0"):
            bake_occlusion(floor_and_wall(), size=64, **wrong)  # type: ignore[arg-type]
