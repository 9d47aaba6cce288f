"""Figures of sets of features: closed forms, another library's answers, and what an interval must cover."""

import numpy as np
import pytest

from slipcast.systems.evaluation.distances import coverage, interval, kernel_distance
from slipcast.systems.evaluation.frechet import frechet_distance, frechet_of_features


def two_sets() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.normal(size=(60, 4)), rng.normal(size=(45, 4)) * 0.7 + 0.4


def test_coverage_is_that_of_the_authors_package():
    """prdc 0.2 (Naeem et al.'s own, PyPI) on the same numbers, k = 5."""
    real, made = two_sets()
    told = coverage(real, made, 5)
    assert told.precision == pytest.approx(44 / 45)
    assert told.recall == pytest.approx(52 / 60)
    assert told.density == pytest.approx(247 / 225)
    assert told.coverage == pytest.approx(53 / 60)


def test_density_of_real_pictures_among_themselves_is_one_in_the_mean():
    """Naeem et al., section 3.3: equal distributions have density 1 and coverage 1 - (M choose k) ... near 1 - 2^-k."""
    rng = np.random.default_rng(0)
    told = [coverage(rng.normal(size=(200, 6)), rng.normal(size=(200, 6)), 5) for _ in range(10)]
    assert np.mean([one.density for one in told]) == pytest.approx(1, abs=0.05)
    assert np.mean([one.coverage for one in told]) == pytest.approx(1 - 2**-5, abs=0.02)


def test_one_far_real_picture_raises_precision_but_hardly_density():
    rng = np.random.default_rng(1)
    real, made = rng.normal(size=(100, 3)), rng.normal(size=(80, 3)) + 30
    outlier = np.concatenate([real, np.full((1, 3), 35.0)])
    assert coverage(real, made).precision == 0
    told = coverage(outlier, made)
    assert told.precision == 1 and told.coverage == pytest.approx(1 / 101) and told.recall <= 1 / 101


def test_coverage_wants_more_than_its_neighbours():
    with pytest.raises(ValueError, match="more than 5"):
        coverage(np.zeros((5, 2)), np.zeros((9, 2)))


def test_kernel_distance_is_the_written_out_sum_over_pairs():
    real, made = (one[:7] for one in two_sets())

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x @ y) / 4 + 1) ** 3

    among = [
        kernel(a, b) for one in (real, made) for i, a in enumerate(one) for j, b in enumerate(one) if i != j
    ]
    across = [kernel(a, b) for a in real for b in made]
    expected = sum(among) / 42 - 2 * sum(across) / 49
    assert kernel_distance(real, made) == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_has_no_bias():
    """Equal distributions: zero in the mean, negative about half of the time (a biased one never is)."""
    rng = np.random.default_rng(2)
    values = np.array(
        [kernel_distance(rng.normal(size=(20, 3)), rng.normal(size=(20, 3))) for _ in range(400)]
    )
    assert abs(values.mean()) < 4 * values.std() / 20
    assert 0.3 < (values < 0).mean() < 0.8


def test_frechet_of_features_is_the_squared_shift_of_equal_shapes():
    real, _ = two_sets()
    assert frechet_of_features(real, real + [3.0, 0, 4.0, 0]) == pytest.approx(25)
    assert frechet_of_features(real, real) == pytest.approx(0, abs=1e-9)


def test_frechet_of_features_is_that_of_their_gaussians():
    real, made = two_sets()
    told = [part for one in (real, made) for part in (one.mean(0), np.cov(one, rowvar=False))]
    assert frechet_of_features(real, made) == pytest.approx(
        frechet_distance(told[0], told[1], told[2], told[3]), rel=1e-9
    )


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(3), 0
    for draw in range(100):
        values = rng.normal(size=60)
        low, high = interval(lambda rows, values=values: float(values[rows].mean()), 60, seed=draw)
        hits += low < 0 < high
    assert 85 <= hits <= 100


def test_an_interval_of_a_distance_holds_the_figure_itself():
    """Repeated pictures make any distance larger; the interval must not move with it."""
    real, made = two_sets()
    figure = kernel_distance(real, made)
    low, high = interval(lambda rows: kernel_distance(real, made[rows]), len(made))
    assert low < figure < high
