"""Where refinement starts: hazy parts come in whole, hard ones as they were."""

import torch

from slipcast.systems.field.iso_level import auto_threshold
from slipcast.systems.field.voxels import DENSITY_PEAK, FrozenGrid, VoxelField, cell_centres
from slipcast.systems.refine.connectivity import join_pieces
from slipcast.systems.refine.warm_start import warm_start

SIZE = 32
PLACES = cell_centres(SIZE).view(SIZE, SIZE, SIZE, 3)


def field(occupancy):
    return FrozenGrid(occupancy, torch.full((SIZE,) * 3 + (3,), 0.5))


def hazy_table():
    """A solid top on a leg that is seen but never more solid than empty."""
    x, y, z = PLACES.unbind(-1)
    top = torch.sigmoid((0.15 - (z - 0.5).abs()) * 60) * torch.sigmoid(
        (0.7 - torch.maximum(x.abs(), y.abs())) * 60
    )
    leg = 0.45 * torch.sigmoid((0.2 - torch.maximum(x.abs(), y.abs())) * 60) * (z < 0.5) * (z > -0.8)
    return field(torch.maximum(top, leg))


def test_a_hazy_leg_comes_in_whole():
    copied, started = VoxelField.from_field(hazy_table(), SIZE), warm_start(hazy_table(), SIZE)
    below = PLACES[0, 0, :, 2] < 0.2
    assert not (copied.raw_density[:, :, below] > 0).any()
    assert (started.raw_density[16, 16, below & (PLACES[0, 0, :, 2] > -0.7)] > 0).all()
    assert torch.equal(copied.raw_colour, started.raw_colour)


def test_the_surface_moves_towards_the_outlines_and_not_beyond():
    copied, started = VoxelField.from_field(hazy_table(), SIZE), warm_start(hazy_table(), SIZE)
    level = auto_threshold(copied.density_at_centres().detach().numpy(), 2 / SIZE)
    outline = copied.density_at_centres() >= level
    solid = started.raw_density > 0
    assert (solid <= outline).all() and ((copied.raw_density > 0) <= solid).all()


def test_a_surface_where_its_outlines_are_stays(monkeypatch):
    copied = VoxelField.from_field(hazy_table(), SIZE)
    monkeypatch.setattr("slipcast.systems.refine.warm_start.auto_threshold", lambda *_: DENSITY_PEAK / 2)
    assert torch.equal(warm_start(hazy_table(), SIZE).raw_density, join_pieces(copied.raw_density))


def test_an_empty_field_is_only_copied():
    nothing = field(torch.zeros((SIZE,) * 3))
    assert torch.equal(
        warm_start(nothing, SIZE).raw_density, VoxelField.from_field(nothing, SIZE).raw_density
    )
