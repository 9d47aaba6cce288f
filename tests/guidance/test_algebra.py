"""Laws of the one formula."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slipcast.guidance import Branch, Guidance, PerpendicularTo, Term, around, interval

NETWORKS = [object() for _ in range(5)]
WEIGHTS = st.floats(-20, 20, allow_nan=False)


def toy_branches() -> list[Branch]:
    return [Branch(f"b{i}", network) for i, network in enumerate(NETWORKS)]  # type: ignore[arg-type]


def said_by(branches: list[Branch]) -> dict[Branch, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {b: torch.randn(2, 1, 2, 2, generator=generator, dtype=torch.float64) for b in branches}


@given(
    terms=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), WEIGHTS), max_size=6), t=st.floats(0, 1)
)
@settings(max_examples=60, deadline=None)
def test_coefficients_sum_to_one_and_give_the_formula(terms, t) -> None:
    branches = toy_branches()
    eps = said_by(branches)
    guidance = Guidance(branches[0], [Term(branches[p], branches[n], w) for p, n, w in terms])

    assert math.isclose(math.fsum(guidance.coefficients(t).values()), 1, abs_tol=1e-9)
    assert math.isclose(math.fsum(guidance.coefficients(t, drop_base=True).values()), 0, abs_tol=1e-9)
    by_hand = eps[branches[0]] + sum(w * (eps[branches[p]] - eps[branches[n]]) for p, n, w in terms)
    torch.testing.assert_close(guidance.combine(eps, [t, t]), by_hand)
    torch.testing.assert_close(guidance.combine(eps, [t, t], drop_base=True), by_hand - eps[branches[0]])


def test_weight_zero_is_the_base_and_weight_one_the_positive_branch_bit_for_bit() -> None:
    base, other, *_ = branches = toy_branches()
    eps = said_by(branches)
    assert torch.equal(around(base, (other, 0.0)).combine(eps, [0.5, 0.5]), eps[base])
    assert torch.equal(around(base, (other, 1.0)).combine(eps, [0.5, 0.5]), eps[other])
    assert around(base, (other, 0.0)).needed([0.5]) == (base,)
    assert around(base, (other, 1.0)).needed([0.5]) == (other,)


def test_a_coefficient_that_is_zero_but_for_rounding_needs_no_evaluation() -> None:
    base, one, two, *_ = toy_branches()
    assert 1 - 0.7 - 0.3 != 0
    assert around(base, (one, 0.7), (two, 0.3)).needed([0.5]) == (one, two)


def test_weights_follow_the_time_of_each_sample() -> None:
    base, one, *_ = branches = toy_branches()
    eps = said_by(branches)
    guidance = around(base, (one, lambda t: 10 * t))
    combined = guidance.combine(eps, [0.0, 0.3])
    assert torch.equal(combined[0], eps[base][0])
    torch.testing.assert_close(combined[1], eps[base][1] + 3 * (eps[one] - eps[base])[1])


def test_interval_switches_a_term_off_outside() -> None:
    base, one, *_ = toy_branches()
    guidance = around(base, (one, interval(4.0, 0.2, 0.5)))
    seen = {t: guidance.coefficients(t)[one] for t in (0.0, 0.19, 0.2, 0.5, 0.51, 0.999)}
    assert seen == {0.0: 0, 0.19: 0, 0.2: 4, 0.5: 4, 0.51: 0, 0.999: 0}
    assert guidance.needed([0.6]) == (base,)
    assert interval(lambda t: t, 0.2, 0.5)(0.4) == 0.4
    with pytest.raises(ValueError, match="t_min <= t_max"):
        interval(1.0, 0.5, 0.2)


def test_perpendicular_part_is_orthogonal_and_ignores_what_is_parallel() -> None:
    base, positive, negative, *_ = branches = toy_branches()
    eps = said_by(branches)
    direction = eps[positive] - eps[base]
    across = PerpendicularTo(positive, base)
    left = across(eps[negative] - eps[base], eps)
    torch.testing.assert_close((left * direction).sum((1, 2, 3)), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(across(3 * direction, eps), torch.zeros_like(direction))
    torch.testing.assert_close(across(left + 2 * direction, eps), left)


def test_perpendicular_to_nothing_changes_nothing() -> None:
    base, positive, *_ = toy_branches()
    delta = torch.randn(2, 1, 2, 2)
    same = torch.randn(2, 1, 2, 2)
    assert torch.equal(PerpendicularTo(positive, base)(delta, {positive: same, base: same}), delta)


def test_equal_branches_are_one_branch() -> None:
    first, again = Branch("a", NETWORKS[0]), Branch("also a", NETWORKS[0])  # type: ignore[arg-type]
    assert first == again
    assert len(Guidance(first, [Term(again, first, 5.0)]).branches) == 1


def test_two_branches_may_not_share_a_name() -> None:
    with pytest.raises(ValueError, match="'same'"):
        around(Branch("same", NETWORKS[0]), (Branch("same", NETWORKS[1]), 2.0))  # type: ignore[arg-type]


def test_a_weight_that_is_not_a_number_is_named() -> None:
    base, one, *_ = toy_branches()
    with pytest.raises(ValueError, match=r"b1 - b0.*nan at t/T = 0.250"):
        around(base, (one, lambda t: math.nan)).coefficients(0.25)


@given(exponent=st.integers(-12, 12))
@settings(max_examples=25, deadline=None)
def test_the_perpendicular_part_does_not_depend_on_the_length_of_the_direction(exponent) -> None:
    """Guidance is a small difference of eps: the shorter it is, the more would a bound of its length leave in."""
    base, positive, negative, *_ = branches = toy_branches()
    eps = said_by(branches)
    direction, delta = eps[positive] - eps[base], eps[negative] - eps[base]
    across = PerpendicularTo(positive, base)
    scaled = {**eps, base: torch.zeros_like(direction), positive: 10.0**exponent * direction}
    torch.testing.assert_close(across(delta, scaled), across(delta, eps))
    torch.testing.assert_close(across(3 * direction, scaled), torch.zeros_like(direction))
    # In the precision of the networks too.
    rounded = {branch: value.float() for branch, value in scaled.items()}
    torch.testing.assert_close(
        across(delta.float(), rounded), across(delta, eps).float(), atol=1e-5, rtol=1e-4
    )


def test_each_sample_has_a_direction_of_its_own() -> None:
    base, positive, negative, *_ = branches = toy_branches()
    eps = said_by(branches)
    across = PerpendicularTo(positive, base)
    both = across(eps[negative] - eps[base], eps)
    for row in (slice(0, 1), slice(1, 2)):
        alone = {branch: value[row] for branch, value in eps.items()}
        torch.testing.assert_close(across(alone[negative] - alone[base], alone), both[row])


@pytest.mark.parametrize(("t_min", "t_max"), [(0.0, 1.0), (0.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.25, 0.75)])
def test_an_interval_holds_its_ends(t_min, t_max) -> None:
    weight = interval(4.0, t_min, t_max)
    assert callable(weight) and weight(t_min) == weight(t_max) == 4.0
    assert [weight(t_min - 1e-6), weight(t_max + 1e-6)] == [0.0, 0.0]
    for bad in ((-1e-6, t_max), (t_min, 1 + 1e-6)):
        with pytest.raises(ValueError, match="t_min <= t_max"):
            interval(4.0, *bad)
