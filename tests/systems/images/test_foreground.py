"""Cutting out against pictures whose coverage is known."""

import numpy as np
import pytest

from slipcast.configs.errors import SlipcastError
from slipcast.systems.images.foreground import (
    cut_out,
    in_common_framing,
    plain_background,
    squared,
    touched_sides,
)
from slipcast.systems.types import SubjectImage

ORANGE = np.array([0.886, 0.557, 0.243], np.float32)


def disc(size: int = 96, radius: float = 0.3, hole: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    distance = np.hypot(x, y)
    return ((distance < radius) & (distance >= hole)).astype(np.float32)


def picture(alpha: np.ndarray, colour, ground=ORANGE, slope: float = 0.0) -> np.ndarray:
    ramp = slope * (np.linspace(-0.5, 0.5, len(alpha))[:, None, None])
    grounds = np.broadcast_to(ground, (*alpha.shape, 3)) + ramp
    return (alpha[..., None] * np.asarray(colour, np.float32) + (1 - alpha[..., None]) * grounds).astype(
        np.float32
    )


@pytest.mark.parametrize("colour", [(0.95, 0.95, 0.97), (0.1, 0.2, 0.6), (0.5, 0.5, 0.5)])
@pytest.mark.parametrize("slope", [0.0, 0.15])
def test_a_disc_is_found(colour, slope):
    truth = disc()
    noise = np.random.default_rng(0).normal(0, 0.01, (*truth.shape, 3))
    found = cut_out((picture(truth, colour, slope=slope) + noise).clip(0, 1)).alpha > 0.5
    assert (found & (truth > 0)).sum() / (found | (truth > 0)).sum() > 0.95


def test_a_hole_shows_the_ground_and_stays():
    truth = disc(radius=0.35, hole=0.12)
    assert cut_out(picture(truth, (0.1, 0.2, 0.6))).alpha[48, 48] == 0


def test_the_ground_does_not_bleed_into_the_rim():
    subject = cut_out(picture(disc(), (0.1, 0.2, 0.6)))
    assert np.allclose(subject.rgb[subject.alpha > 0], (0.1, 0.2, 0.6), atol=1e-3)


def test_the_plane_is_exact():
    ground = picture(np.zeros((40, 40), np.float32), (0, 0, 0), slope=0.3)
    assert np.allclose(plain_background(ground), ground, atol=1e-5)


def test_nothing_there_is_said():
    with pytest.raises(SlipcastError, match="no subject"):
        cut_out(picture(np.zeros((64, 64), np.float32), (0, 0, 0)))


@pytest.mark.parametrize("corner", [(0, 0), (10, 30), (60, 80)])
def test_a_subject_is_framed_alike_wherever_it_stands_and_no_pixel_of_it_changes(corner) -> None:
    alpha, rgb = np.zeros((100, 140), np.float32), np.zeros((100, 140, 3), np.float32)
    y, x = corner
    drawn = np.random.default_rng(0).random((40, 60, 3)).astype(np.float32)
    alpha[y : y + 40, x : x + 60], rgb[y : y + 40, x : x + 60] = 1, drawn
    framed = in_common_framing(SubjectImage(rgb, alpha))
    assert framed.alpha.shape == (86, 86) and framed.alpha.sum() == 2400
    assert np.array_equal(framed.rgb[23:63, 13:73], drawn) and framed.alpha[23:63, 13:73].all()


def test_a_picture_that_is_not_square_is_put_in_the_middle_of_one() -> None:
    alpha = np.ones((4, 9), np.float32)
    square = squared(SubjectImage(np.ones((4, 9, 3), np.float32), alpha))
    assert square.alpha.shape == (9, 9) and square.alpha[2:6].all() and square.alpha.sum() == 36
    assert squared(square) is square


def test_the_sides_that_a_subject_runs_out_of_are_named() -> None:
    alpha = np.zeros((50, 50), np.float32)
    alpha[20:50, 10:30] = 1
    subject = SubjectImage(np.zeros((50, 50, 3), np.float32), alpha)
    assert touched_sides(subject) == ["lower"]
    alpha[20:30, :] = 1
    assert touched_sides(subject) == ["lower", "left", "right"]
