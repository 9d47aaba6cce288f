"""How a lifted field looks beside its picture, and which faults of a shape are told."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from slipcast.systems.field.cameras import FRONT_ELEVATION_RAD, orbit_camera
from slipcast.systems.field.volume_rendering import render_image
from slipcast.systems.field.voxels import FrozenGrid, cell_centres
from slipcast.systems.lift.looks import best_of, looks_of
from slipcast.systems.types import SubjectImage

R = 48
POINTS = cell_centres(R)


def grid(inside: torch.Tensor, colours: torch.Tensor | None = None) -> FrozenGrid:
    shown = torch.full((R**3, 3), 0.5) if colours is None else colours
    return FrozenGrid(torch.where(inside, 0.99, 0.01).view(R, R, R), shown.view(R, R, R, 3))


def picture_of(field: FrozenGrid, azimuth_rad: float = 0.0) -> SubjectImage:
    rgb, alpha, _ = render_image(field, orbit_camera(azimuth_rad, FRONT_ELEVATION_RAD), 96)
    return SubjectImage((rgb / alpha.clamp_min(1e-3)[..., None]).clamp(0, 1).numpy(), alpha.numpy())


BALL = POINTS.norm(dim=1) < 0.7
FACE = ((POINTS[:, 0].abs() - 0.25).abs() < 0.1) & ((POINTS[:, 2] - 0.2).abs() < 0.1)  # two eyes


def painted(*turns_deg: float) -> FrozenGrid:
    """A grey ball with a pair of dark eyes towards each turn; 0 is the front."""
    colours = torch.full((R**3, 3), 0.7)
    for turn in turns_deg:
        angle = math.radians(turn)
        towards = torch.tensor([math.sin(angle), -math.cos(angle), 0.0])
        across = torch.tensor([math.cos(angle), math.sin(angle), 0.0])
        eyes = ((POINTS @ across).abs() - 0.25).abs() < 0.12
        colours[eyes & ((POINTS[:, 2] - 0.2).abs() < 0.12) & (POINTS @ towards > 0.3)] = 0.05
    return grid(BALL, colours)


def test_a_field_looks_like_its_own_picture_and_a_smaller_or_other_one_less():
    field = painted(0)
    own = looks_of(field, picture_of(field), FRONT_ELEVATION_RAD)
    assert own.overlap > 0.97 and own.colour_error < 0.02 and own.faults == ()
    small = looks_of(grid(POINTS.norm(dim=1) < 0.5), picture_of(field), FRONT_ELEVATION_RAD)
    assert small.overlap == pytest.approx((0.5 / 0.7) ** 2, abs=0.05)
    dark = looks_of(grid(BALL, torch.zeros(R**3, 3)), picture_of(field), FRONT_ELEVATION_RAD)
    assert dark.overlap > 0.97 and dark.colour_error > 0.5
    assert own.likeness > max(small.likeness, dark.likeness)
    turned = looks_of(painted(90), picture_of(field), FRONT_ELEVATION_RAD)
    assert turned.colour_error > 2 * own.colour_error


@pytest.mark.parametrize(
    ("turns", "told"), [((), False), ((0,), False), ((0, 180), True), ((0, 90, 180, 270), False)]
)
def test_a_second_face_is_told_and_one_all_round_is_none(turns: tuple[float, ...], told: bool):
    field = painted(*turns)
    faults = looks_of(field, picture_of(field), FRONT_ELEVATION_RAD).faults
    assert any("second face" in fault for fault in faults) == told


@pytest.mark.parametrize(
    ("inside", "word"),
    [
        (torch.zeros(R**3, dtype=torch.bool), "all but empty"),
        (torch.ones(R**3, dtype=torch.bool), "fills"),
        ((POINTS[:, 1].abs() < 0.04) & (POINTS.abs().amax(dim=1) < 0.8), "flat as a card"),
    ],
)
def test_collapsed_shapes_are_told(inside: torch.Tensor, word: str):
    faults = looks_of(grid(inside), picture_of(painted(0)), FRONT_ELEVATION_RAD).faults
    assert any(word in fault for fault in faults), faults


def test_a_plate_on_its_ground_is_no_card():
    plate = (POINTS[:, 2].abs() < 0.04) & (POINTS[:, :2].norm(dim=1) < 0.8)
    assert looks_of(grid(plate), picture_of(grid(plate)), FRONT_ELEVATION_RAD).faults == ()


def test_an_empty_picture_and_an_empty_field_agree_on_nothing():
    blank = SubjectImage(np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.float32))
    looks = looks_of(grid(torch.zeros(R**3, dtype=torch.bool)), blank, 0.0)
    assert (looks.overlap, looks.colour_error, looks.likeness) == (0.0, 1.0, 0.0)


def test_ranks_are_added_so_no_scale_counts():
    measures = [
        {"text": 3.0, "likeness": 0.2},
        {"text": 2.0, "likeness": 0.9},
        {"text": 1.0, "likeness": 0.1},
    ]
    assert best_of(measures) == [0, 1, 2]
    assert best_of([{**one, "domain": d} for one, d in zip(measures, (0.1, 0.3, 0.2), strict=True)]) == [
        1,
        0,
        2,
    ]
    scaled = [{"text": 1e6 * one["text"], "likeness": one["likeness"]} for one in measures]
    assert best_of(scaled) == best_of(measures)
    assert best_of([{"a": 1.0}] * 3) == [0, 1, 2] and best_of([]) == []
