"""Terms put together in other ways than by their sum, and weights that differ from view to view: laws and truths."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slipcast.guidance import Branch, GaussianPredictor, Guidance, GuidedNoise, Term, around, sds_gradient
from slipcast.guidance.algebra import PerSample
from slipcast.guidance.combining import COMBINATIONS, alternated, balanced, unopposed
from slipcast.guidance.recipes import perp_neg, quieter

NOBODY: Any = object()
BASE, ONE, TWO, THREE = (
    Branch(name, NOBODY, torch.tensor(i)) for i, name in enumerate(("base", "a", "b", "c"))
)
TIMES = [0.3, 0.6]


def said(seed: int = 0) -> dict[Branch, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        one: torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
        for one in (BASE, ONE, TWO, THREE)
    }


def together(name: str, guidance: Guidance) -> Guidance:
    from dataclasses import replace

    if name == "alternate":
        return alternated(guidance, 7)
    return replace(guidance, combination=COMBINATIONS.get(name))


def dots(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one * other).flatten(1).sum(1)


@pytest.mark.parametrize("name", ["sum", "alternate", *COMBINATIONS])
@pytest.mark.parametrize("drop_base", [False, True])
def test_law_with_one_term_all_are_equal(name: str, drop_base: bool) -> None:
    guidance = around(BASE, (ONE, lambda t: 3 + t))
    for eps in (said(), said(1)):
        plain = guidance.combine(eps, TIMES, drop_base=drop_base)
        torch.testing.assert_close(together(name, guidance).combine(eps, TIMES, drop_base=drop_base), plain)


@given(
    seed=st.integers(0, 1000),
    weights=st.lists(st.floats(-10, 10).filter(lambda w: abs(w) > 1e-3), min_size=2, max_size=2),
)
@settings(max_examples=40, deadline=None)
def test_law_two_projected_terms_never_oppose(seed: int, weights: list[float]) -> None:
    eps = said(seed)
    pushes = around(BASE, (ONE, weights[0]), (TWO, weights[1])).pushes(eps, TIMES)
    before = dots(*pushes.values())
    after = together("project", around(BASE, (ONE, weights[0]), (TWO, weights[1]))).pushes(eps, TIMES)
    assert (dots(*after.values()) >= -1e-9).all()
    for name in pushes:
        kept = before >= 0
        torch.testing.assert_close(after[name][kept], pushes[name][kept])
        (other,) = set(pushes) - {name}
        assert (dots(after[name], pushes[other]) >= -1e-9).all()


def test_law_projection_leaves_orthogonal_terms_alone() -> None:
    deltas = [torch.zeros(1, 3, 1, 1) for _ in range(3)]
    for axis, delta in enumerate(deltas):
        delta[0, axis] = axis + 1.0
    weights = [torch.full((1, 1, 1, 1), w) for w in (1.0, -2.0, 3.0)]
    for found, delta, weight in zip(unopposed(deltas, weights), deltas, weights, strict=True):
        assert torch.equal(found, weight * delta)


def test_projection_takes_away_just_what_opposes() -> None:
    one, other = torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([[[[-1.0, 1.0]]]])
    weight = torch.ones(1, 1, 1, 1)
    pushed = unopposed([one, other], [weight, weight])
    # <one, other> = -2: one loses -2 / 2 of other, other loses -2 / 4 of one.
    assert torch.equal(pushed[0], torch.tensor([[[[1.0, 1.0]]]]))
    assert torch.equal(pushed[1], torch.tensor([[[[0.0, 1.0]]]]))
    assert torch.equal(unopposed([one, -one], [weight, weight])[0], torch.zeros_like(one)), "they cancel"


def test_law_balanced_terms_are_as_long_as_their_weights_say() -> None:
    eps = said()
    eps[ONE] = eps[BASE] + 100 * (eps[ONE] - eps[BASE])
    pushes = together("balance", around(BASE, (ONE, 2.0), (TWO, 0.5))).pushes(eps, TIMES)
    lengths = [push.flatten(1).norm(dim=1) for push in pushes.values()]
    torch.testing.assert_close(lengths[0], 4 * lengths[1])
    mean = sum((eps[one] - eps[BASE]).flatten(1).norm(dim=1) for one in (ONE, TWO)) / 2
    torch.testing.assert_close(lengths[0], 2.0 * mean)
    nothing = torch.zeros(1, 1, 2, 2)
    for push in balanced([nothing, nothing + 1], [torch.ones(1, 1, 1, 1)] * 2):
        assert torch.isfinite(push).all()


def test_terms_that_are_off_at_a_sample_do_not_count_there() -> None:
    eps = said()
    off = PerSample(5.0, (0.0, 1.0))
    both = together("balance", around(BASE, (ONE, 2.0), (TWO, off))).combine(eps, TIMES)
    alone = around(BASE, (ONE, 2.0)).combine(eps, TIMES)
    torch.testing.assert_close(both[:1], alone[:1])
    assert not torch.allclose(both[1:], alone[1:])


def test_alternation_asks_one_term_after_the_other() -> None:
    guidance = around(BASE, (ONE, 2.0), (TWO, 3.0), (THREE, 1.0))
    for turn, target in enumerate((ONE, TWO, THREE, ONE)):
        assert [term.positive for term in alternated(guidance, turn).terms] == [target]
    assert set(alternated(guidance, 1).needed(TIMES)) == {BASE, TWO}
    assert alternated(Guidance(BASE), 3).terms == ()


@pytest.mark.parametrize("name", COMBINATIONS)
def test_law_the_distilled_gradient_is_the_closed_form(schedule: Any, name: str) -> None:
    """Of Gaussian data every answer is known: eps = s (x_t - a m) / (a^2 v + s^2)."""
    z, noise = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([100, 500, 900])
    means = (0.1, 0.5, -0.8)
    null, one, two = (Branch(str(m), GaussianPredictor(m, 0.3, schedule)) for m in means)
    guided = GuidedNoise(together(name, around(null, (one, 5.0), (two, 2.0))))
    a, s = schedule.signal_and_noise(t, z)
    total, x_t = a**2 * 0.3 + s**2, a * z + s * noise
    eps = [s * (x_t - a * m) / total for m in means]
    d_one, d_two = (answer - eps[0] for answer in eps[1:])  # constants that point against each other
    if name == "balance":
        mean = (d_one.abs() + d_two.abs()) / 2
        pushed = 5 * mean * d_one.sign() + 2 * mean * d_two.sign()
    else:
        pushed = 0  # both lie along one line, in opposite ways: each loses all of itself
    expected = s * (eps[0] + pushed - noise)
    torch.testing.assert_close(sds_gradient(guided, z, t, noise), expected, atol=1e-6, rtol=1e-6)


def test_a_weight_may_differ_from_view_to_view() -> None:
    eps = said()
    guidance = around(BASE, (ONE, PerSample(lambda t: 10 * t, (1.0, 0.5))), (TWO, 2.0))
    found = guidance.combine(eps, TIMES)
    for sample, weight in enumerate((3.0, 3.0)):  # 10 * 0.3 and 10 * 0.6 / 2
        plain = around(BASE, (ONE, weight), (TWO, 2.0)).combine(eps, TIMES)
        torch.testing.assert_close(found[sample], plain[sample])
    assert guidance.terms[0].weights_at(TIMES) == pytest.approx([3.0, 3.0])


def test_a_term_that_no_view_hears_is_not_evaluated() -> None:
    unheard = around(BASE, (ONE, PerSample(4.0, (0.0, 0.0))), (TWO, 2.0))
    assert set(unheard.needed(TIMES)) == {BASE, TWO}
    assert set(around(BASE, (ONE, PerSample(4.0, (0.0, 1.0)))).needed(TIMES)) == {BASE, ONE}
    with pytest.raises(ValueError, match="factors for 1 samples, but there is a sample 1"):
        around(BASE, (ONE, PerSample(4.0, (1.0,)))).combine(said(), TIMES)


def test_factors_of_views_stay_through_recipes() -> None:
    """Perp-Neg multiplies weights, and quieter guidance scales them by time."""
    guidance = perp_neg(BASE, ONE, [(TWO, PerSample(0.5, (1.0, 0.0)))], 4.0)
    assert [term.weights_at(TIMES) for term in guidance.terms] == [[4.0, 4.0], [-2.0, 0.0]]
    both = perp_neg(BASE, ONE, [(TWO, PerSample(0.5, (1.0, 0.0)))], PerSample(4.0, (0.5, 1.0)))
    assert both.terms[1].weights_at(TIMES) == [-1.0, 0.0]
    risen = quieter(around(BASE, (ONE, PerSample(4.0, (1.0, 0.5)))), 0.0, 1.0)
    assert risen.terms[0].weights_at(TIMES) == pytest.approx([1.2, 1.2])


def test_two_terms_of_the_same_branches_have_two_names() -> None:
    twice = Guidance(BASE, [Term(ONE, BASE, 1.0), Term(ONE, BASE, 2.0)])
    assert list(twice.pushes(said(), TIMES)) == ["a - base", "a - base (2)"]


def test_a_difference_of_nothing_but_rounding_pushes_nothing_beside_long_ones() -> None:
    """Two branches of one text differ by rounding, or by nothing: neither is made as long as the others."""
    long = torch.full((1, 1, 8, 8), 3.0)
    for small in (torch.zeros_like(long), torch.full_like(long, 1e-7)):
        pushes = balanced([long, small, -long], [torch.ones(1, 1, 1, 1)] * 3)
        assert all(push.isfinite().all() for push in pushes)
        assert torch.equal(pushes[1], torch.zeros_like(long))
        torch.testing.assert_close(pushes[0], long)
    (alone,) = balanced([torch.zeros_like(long)], [torch.ones(1, 1, 1, 1)])
    assert torch.equal(alone, torch.zeros_like(long))
