"""Base colour from views: what every view agrees on, what differs from side to side, and what is hidden."""

import numpy as np
import pytest
import torch
from fakes.solid_fields import SolidField, torus

from slipcast.configs.errors import BadInput
from slipcast.systems.mesh.extraction import extract_surface
from slipcast.systems.texture.atlas import unwrap
from slipcast.systems.texture.colour_baking import bake
from slipcast.systems.texture.texels import surface_texels
from slipcast.systems.texture.view_baking import bake_views, spread_cameras
from slipcast.systems.types import Mesh

SIZE = 128
FIELD = SolidField(torus, peak=400.0)


@pytest.fixture(scope="module")
def unwrapped() -> Mesh:
    return unwrap(extract_surface(FIELD, resolution=64, target_faces=2500).reduced, size=SIZE)


def test_the_cameras_look_from_all_sides() -> None:
    places = torch.stack([camera.position for camera in spread_cameras(24)])
    for axis in range(2):
        assert places[:, axis].min() < -3.5 and places[:, axis].max() > 3.5
    assert places[:, 2].min() < -1.5 and places[:, 2].max() > 3.5
    apart = torch.cdist(places, places).fill_diagonal_(9)
    assert apart.min() > 0.9


def test_paint_that_looks_alike_from_all_sides_is_that_of_the_normals(unwrapped: Mesh) -> None:
    along, seen = (
        bake(unwrapped, FIELD, size=SIZE),
        bake_views(unwrapped, FIELD, surface_texels(unwrapped, SIZE)),
    )
    assert along.texture is not None and seen.texture is not None
    error = np.abs(along.texture.astype(int) - seen.texture)
    assert np.median(error) <= 1 and error.mean() < 2


def test_the_colour_is_that_of_the_side_from_which_it_is_seen(unwrapped: Mesh) -> None:
    class Sides:
        """Red to whoever looks from above the point, green from below: the direction is told by two near points."""

        def __call__(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            rays = points.view(-1, 16, 3)
            up = (rays[:, 0, 2] > rays[:, -1, 2]).float()
            colour = torch.stack([up, 1 - up, torch.zeros_like(up)], 1)
            return FIELD(points)[0], colour.repeat_interleave(16, 0)

    texels = surface_texels(unwrapped, SIZE)
    texture = bake_views(unwrapped, Sides(), texels, views=64).texture
    assert texture is not None
    colour = texture.reshape(-1, 3)[texels.index]
    normals = texels.interpolate(unwrapped.normals, unwrapped.faces)
    top, side = normals[:, 2] > 0.95, np.abs(normals[:, 2]) < 0.05
    assert (colour[top][:, 0] > 240).all()
    # A wall is seen from above and from below; more cameras stand above.
    mixed = colour[side][:, 0] / 255
    assert 0.5 < np.median(mixed) < 0.95


def test_what_no_camera_sees_is_painted_along_the_normals(unwrapped: Mesh) -> None:
    tent = np.array([[0, -2, -0.9], [2, 2, -0.9], [-2, 2, -0.9], [0, 0, 9]], np.float32)
    sides = np.array([[0, 1, 2], [0, 1, 3], [1, 2, 3], [2, 0, 3]]) + len(unwrapped.vertices)
    assert unwrapped.uv is not None
    covered = unwrapped.with_(
        vertices=np.concatenate([unwrapped.vertices, tent * 1.5]),
        faces=np.concatenate([unwrapped.faces, sides]).astype(np.int32),
        normals=np.concatenate([unwrapped.normals, np.eye(4, 3, dtype=np.float32)]),
        uv=np.concatenate([unwrapped.uv, np.zeros((4, 2), np.float32)]),
    )
    texels = surface_texels(unwrapped, SIZE)
    hidden, along = bake_views(covered, FIELD, texels), bake(unwrapped, FIELD, size=SIZE, texels=texels)
    assert hidden.texture is not None and along.texture is not None
    np.testing.assert_array_equal(hidden.texture, along.texture)


def test_no_view_is_refused(unwrapped: Mesh) -> None:
    with pytest.raises(BadInput, match="at least 1 view, not 0"):
        bake_views(unwrapped, FIELD, surface_texels(unwrapped, SIZE), views=0)
