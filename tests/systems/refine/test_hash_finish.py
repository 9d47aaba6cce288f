"""What a hash field hands on: a surface that lies where the field's is seen, however it jumps there."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from slipcast.configs.schema import RefineConfig
from slipcast.systems.field.trilinear import interpolate
from slipcast.systems.field.voxels import DENSITY_PEAK, FrozenGrid, VoxelField, cell_centres
from slipcast.systems.refine import hash_finish, hash_training
from slipcast.systems.refine.hash_finish import as_voxels, distances, seen_level
from slipcast.systems.refine.hash_fit import near_surface
from slipcast.systems.refine.hash_training import HashTraining
from slipcast.systems.refine.surface_colour import surface_points
from slipcast.systems.refine.warm_start import warm_start

SIZE, RADIUS, SHARP = 16, 0.6, 32.0


def lifted() -> FrozenGrid:
    inside = RADIUS - cell_centres(SIZE).norm(dim=-1)
    cube = (SIZE,) * 3
    return FrozenGrid((inside * SIZE / 2 + 0.5).clamp(0, 1).view(cube), torch.full((*cube, 3), 0.5))


def trained(steepness: float) -> Any:
    """A ball of raw density 5 inside and -5 outside, whose colours are the places'."""

    def raw(points: torch.Tensor) -> torch.Tensor:
        density = 5 * torch.tanh(steepness * (RADIUS - points.norm(dim=-1, keepdim=True)))
        return torch.cat([density, points], 1)

    return SimpleNamespace(raw=raw, sharpness=SHARP)


def spread(steepness: float, monkeypatch: pytest.MonkeyPatch | None = None) -> tuple[float, float]:
    """How far outside of the ball is what is seen of what is handed on, on average, and how uneven, in cells."""
    if monkeypatch is not None:
        monkeypatch.setattr(hash_finish, "_place_surface", lambda *_: None)
    start = warm_start(lifted(), SIZE)
    made = as_voxels(trained(steepness), start, near_surface(start.raw_density))
    assert made.resolution == 3 * SIZE
    cells, feet = surface_points(made.raw_density)
    assert torch.allclose(made.raw_colour.detach().view(-1, 3)[cells], feet, atol=1e-5)
    return outside(made)


def outside(made: VoxelField) -> tuple[float, float]:
    """Of the level that is seen, along 500 lines out of the middle: mean and standard deviation, in cells."""
    ways = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    ways /= ways.norm(dim=-1, keepdim=True)
    cell = 2 / made.resolution
    off = torch.linspace(-2, 2, 401)
    points = ways[:, None] * (RADIUS + off[:, None] * cell)
    grid = torch.nn.functional.pad(made.raw_density.detach()[..., None], (0, 3))
    raw = interpolate(grid, points.reshape(-1, 3))[:, 0].view(500, 401)
    seen = (raw > seen_level(SHARP, cell)).sum(1)  # solid from the middle out
    return off[seen].mean().item(), off[seen].std().item()


def test_a_surface_between_two_nodes_is_where_the_field_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    away, uneven = spread(steepness=200.0)
    assert abs(away) < 0.1 and uneven < 0.06
    _, read_off = spread(200.0, monkeypatch)
    assert read_off > 3 * uneven


def test_a_gentle_field_keeps_its_slope() -> None:
    """Half of its jump takes two cells: read off at the nodes it is good already."""
    start = warm_start(lifted(), SIZE)
    field = trained(steepness=6.0)
    made = as_voxels(field, start, near_surface(start.raw_density))
    assert outside(made)[1] < 0.1
    near = (made.raw_density.abs() < 1).reshape(-1)
    own = field.raw(cell_centres(made.resolution))[near, 0]
    assert (made.raw_density.reshape(-1)[near] - own).abs().mean() < 0.3


def test_distances_to_a_plane_are_exact_and_end_where_nothing_is_found() -> None:
    places = torch.rand(200, 3, generator=torch.Generator().manual_seed(0))
    cell = torch.tensor([0.1, 0.0, 0.0])

    def value_of(points: torch.Tensor) -> torch.Tensor:
        return 7 * (0.8 - points[:, 0])

    way = value_of(places).sign()[:, None]
    found, slopes = distances(value_of, places, way * cell, value_of(places))
    truth = ((places[:, 0] - 0.8).abs() / 0.1).clamp(max=1.5)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-4)
    assert len(slopes) == (truth < 1.5).sum()
    torch.testing.assert_close(slopes, torch.full_like(slopes, 0.7), rtol=0, atol=1e-3)
    backwards, none = distances(value_of, places, -way * cell, value_of(places))
    assert (backwards == 1.5).all() and len(none) == 0


@pytest.mark.parametrize("sharpness", [1.0, 32.0])
def test_at_the_level_that_is_seen_a_cell_takes_half_of_the_light(sharpness: float) -> None:
    raw, cell = seen_level(sharpness, 2 / 192), 2 / 192
    density = sharpness * DENSITY_PEAK / (1 + math.exp(-sharpness * raw))
    assert math.exp(-density * cell) == pytest.approx(0.5)


def test_the_picture_weighs_as_often_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RefineConfig(field="hashgrid", resolution=SIZE, hash_levels=2, hash_log2_size=8, hash_anchor=2.5)
    monkeypatch.setattr(hash_training, "picture_colour", lambda step: step.colour)
    monkeypatch.setattr(hash_training, "picture_coverage", lambda step: step.coverage)
    losses = HashTraining(lifted(), config).shape_losses()
    asked: Any = SimpleNamespace(colour=torch.tensor(2.0), coverage=None)
    colour = losses["picture colour"](asked)
    assert colour is not None and colour.item() == 5.0
    assert losses["picture coverage"](asked) is None
