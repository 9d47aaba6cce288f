"""A lifted object stands where the picture shows it: known objects, moved away and found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from slipcast.configs.schema import LiftConfig
from slipcast.systems.field.cameras import orbit_camera
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.images.foreground import in_common_framing
from slipcast.systems.lift.gridding import as_grid
from slipcast.systems.lift.mesh_file import read_surface
from slipcast.systems.lift.registration import opaque, registration
from slipcast.systems.lift.solid import field_of_surface
from slipcast.systems.lift.surface import framed
from slipcast.systems.lift.table import LiftTask, lift_named
from slipcast.systems.lift.turned import Turned
from slipcast.systems.types import Mesh, RadianceField, SubjectImage

ELEVATION = float(np.radians(15))


def cone(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Wide below, a point above, with an arm to the right: no symmetry hides a mistake. Its edge is a cell wide."""
    x, y, z = points.unbind(-1)
    body = torch.minimum(0.41 * (0.5 - z) - torch.hypot(x, y), 0.5 + z)
    arm = torch.stack([x, 0.55 - x, 0.1 - y.abs(), 0.1 - (z + 0.1).abs()]).amin(0)
    occupancy = (0.5 + 32 * torch.maximum(body, arm)).clamp(0, 0.999)
    return -32 * torch.log1p(-occupancy), torch.full((len(points), 3), 0.5)


def picture_of(field: RadianceField, elevation: float = ELEVATION) -> SubjectImage:
    """Of its hard surface, as a photograph shows it."""
    rgb, alpha, _ = render_image(opaque(as_grid(field, 64)), orbit_camera(0.0, elevation), 128)
    return SubjectImage((rgb / alpha[..., None].clamp_min(1e-3)).clamp(0, 1).numpy(), alpha.numpy())


def overlap(field: RadianceField, picture: SubjectImage, elevation: float = ELEVATION) -> float:
    one, other = picture_of(field, elevation).alpha > 0.5, picture.alpha > 0.5
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("elevation_deg", [0.0, 15.0, 40.0])
@pytest.mark.parametrize(("moved", "grown"), [((0.1, 0.0, -0.08), 0.85), ((-0.06, 0.0, 0.1), 1.15)])
def test_law_what_was_moved_and_scaled_is_put_back(
    elevation_deg: float, moved: tuple[float, float, float], grown: float
) -> None:
    elevation = float(np.radians(elevation_deg))
    picture, away = picture_of(cone, elevation), Turned(cone, 0.0, torch.tensor(moved), grown)
    middle, scale = registration(away, picture, elevation)
    assert scale * grown == pytest.approx(1, abs=0.03)
    assert (torch.tensor(moved) * grown + middle).abs().max() < 0.03
    assert overlap(away.placed(middle, scale), picture, elevation) > 0.95
    assert overlap(away, picture, elevation) < 0.8


def test_placing_is_one_similarity_after_the_other() -> None:
    turned = Turned(cone, 1.1, torch.tensor([0.1, -0.2, 0.3]), 0.8)
    middle, scale = torch.tensor([0.05, 0.1, -0.1]), 1.3
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.6
    density, _ = turned.placed(middle, scale)((points - middle) * scale)
    assert (density * scale - turned(points)[0]).abs().gt(
        1e-3
    ).float().mean() < 0.002  # rounding at the walls


def test_what_fits_already_stays_and_nothing_leaves_the_box() -> None:
    middle, scale = registration(cone, picture_of(cone), ELEVATION)
    assert scale == 1 and not middle.any()
    whole = SubjectImage(np.zeros((64, 64, 3), np.float32), np.ones((64, 64), np.float32))
    middle, scale = registration(cone, whole, ELEVATION)
    assert scale < 0.98 / 0.5
    nothing = SubjectImage(np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.float32))
    assert registration(cone, nothing, ELEVATION)[1] == 1


def test_a_mesh_stands_where_its_own_picture_shows_it(tmp_path: Path) -> None:
    """A flat wide dish: framed by its outline, a picture shows it larger than it is framed in space."""
    dish = trimesh.creation.box((1.0, 1.0, 0.2))
    dish.export(tmp_path / "dish.ply")
    alone = field_of_surface(framed(read_surface(tmp_path / "dish.ply")), 48)
    shown = in_common_framing(picture_of(alone)).premultiplied(128)
    picture = SubjectImage(shown[..., :3], shown[..., 3])
    made = lift_named("mesh").function(LiftTask([picture], LiftConfig(resolution=48), tmp_path / "dish.ply"))
    assert not isinstance(made, Mesh)
    assert overlap(alone, picture) < 0.8 and overlap(made, picture) > 0.9
