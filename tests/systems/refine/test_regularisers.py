"""What holds a field's shape, and keeps its colours calm: values, gradients, and where they vanish."""

from __future__ import annotations

import pytest
import torch
from fakes.accelerator import ACCELERATOR

from slipcast.systems.refine.regularisers import (
    drift,
    indecision,
    total_variation,
    total_variation_by_torch,
)

CELLS, CHANNELS = 6, 3


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Values and weights, some of them 0."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(CELLS, CELLS, CELLS, CHANNELS, generator=generator)
    weights = torch.rand(CELLS, CELLS, CELLS, generator=generator)
    return values, torch.where(weights < 0.2, 0, weights)


def plain(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The sum over pairs of neighbours, pair by pair."""
    total = torch.zeros((), dtype=values.dtype)
    for place in torch.cartesian_prod(*[torch.arange(CELLS)] * 3).tolist():
        for axis in range(3):
            other = list(place)
            other[axis] += 1
            if other[axis] < CELLS:
                one, two = values[tuple(place)], values[tuple(other)]
                weight = torch.minimum(weights[tuple(place)], weights[tuple(other)])
                total = total + weight * (((one - two).square() + 0.05**2).sqrt() - 0.05).sum()
    return total


@pytest.mark.parametrize("kernel", [total_variation, total_variation_by_torch])
def test_total_variation_and_its_gradient_are_those_of_the_sum_over_pairs(kernel) -> None:
    values, weights = drawn()
    mine, theirs = values.clone().requires_grad_(), values.double().requires_grad_()
    one, two = kernel(mine, weights), plain(theirs, weights.double())
    assert one.item() == pytest.approx(two.item(), rel=1e-5)
    (to_mine,) = torch.autograd.grad(one * 2, mine)
    (to_theirs,) = torch.autograd.grad(two * 2, theirs)
    torch.testing.assert_close(to_mine, to_theirs.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("device", ["cpu", ACCELERATOR])
def test_law_a_step_costs_its_height_times_its_area_wherever_it_is(device: str, axis: int) -> None:
    for at in range(1, CELLS):
        values = torch.zeros(CELLS, CELLS, CELLS, 1)
        values.narrow(axis, at, CELLS - at).fill_(3.0)
        total = total_variation(values.to(device)).cpu().item()
        assert total == pytest.approx(CELLS**2 * ((9 + 0.05**2) ** 0.5 - 0.05), rel=1e-5)


def test_a_pair_counts_with_the_smaller_of_its_weights_and_nothing_that_is_even_counts() -> None:
    assert total_variation(torch.full((3, 3, 3, 1), 0.7)).item() == 0
    values, weights = torch.zeros(3, 3, 3, 1), torch.zeros(3, 3, 3)
    values[1, 1, 1], weights[1, 1, 1], weights[1, 1, 2] = 1.0, 5.0, 0.25
    expected = 0.25 * ((1 + 0.05**2) ** 0.5 - 0.05)
    assert total_variation(values, weights).item() == pytest.approx(expected, rel=1e-5)


def test_total_variation_and_its_gradient_on_an_accelerator_are_the_kernel_s() -> None:
    values, weights = drawn()
    answers = []
    for device in ("cpu", ACCELERATOR):
        cells = values.to(device).requires_grad_()
        total = total_variation(cells, weights.to(device))
        (gradient,) = torch.autograd.grad(total * 2, cells)
        answers.append((total.detach().cpu(), gradient.cpu(), total_variation(cells).detach().cpu()))
    for here, there in zip(*answers, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-5)


def test_drift_and_indecision_vanish_where_they_should() -> None:
    start = torch.rand(4, 4, 4)
    assert drift(start, start, 5.0).item() == 0
    assert drift(start + 0.5, start, 16.0).item() == pytest.approx(1.0)
    assert indecision(start.round(), 5.0).item() == 0
    assert indecision(torch.full((4, 4, 4), 0.5), 16.0).item() == pytest.approx(1.0)


@pytest.mark.parametrize("weighted", [False, True])
def test_slabs_meet_where_threads_part(weighted: bool) -> None:
    """More cells than a slab holds: pairs across its border count once, and the gradient hears both of their cells."""
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(19, 19, 19, CHANNELS, generator=generator)
    weights = torch.rand(19, 19, 19, generator=generator) if weighted else torch.ones(19, 19, 19)
    found = []
    for measure in (total_variation, total_variation_by_torch):
        cells = values.clone().requires_grad_()
        total = measure(cells, weights)
        found.append((total.detach(), *torch.autograd.grad(total, cells)))
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=1e-5)
