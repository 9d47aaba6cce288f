"""What ControlNets see of a mesh: the outline of its view, and which parts are near."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakes.pot import pot

from slipcast.configs.errors import BadInput
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.images.control_maps import canny
from slipcast.systems.texture.quality import base_colour_view
from slipcast.systems.texture.shape_views import shape_views

CAMERA = orbit_camera(0.0, math.radians(15))


@pytest.mark.parametrize("kind", ["canny", "depth"])
def test_the_mesh_is_seen_where_it_is_and_nothing_else(kind: str) -> None:
    (shown,) = shape_views(pot(), [CAMERA], 64, kind)
    _, covered = base_colour_view(pot(), CAMERA, 64)
    assert shown.shape == (64, 64, 3) and shown.min() == 0 and shown.max() <= 1
    np.testing.assert_array_equal(shown.max(-1) > 0, covered)


def test_the_nose_is_the_nearest_part() -> None:
    """It points to the front, so that no other point of that view is as near."""
    (shown,) = shape_views(pot(), [CAMERA], 128, "depth")
    row, column = np.unravel_index(shown[..., 0].argmax(), (128, 128))
    assert shown.max() == 1 and 50 < row < 78 and 60 < column < 80


def test_edges_are_the_outline() -> None:
    (shown,) = shape_views(pot(), [CAMERA], 128, "canny")
    assert 50 < canny(shown).sum() < 1500


def test_an_unknown_kind_is_told() -> None:
    with pytest.raises(BadInput, match=r"paint\.control"):
        shape_views(pot(), [CAMERA], 16, "normal")
