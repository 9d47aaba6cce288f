"""AdamW with moments of 8 bits beside torch's own, and what it costs."""

import pytest
import torch

from slipcast.systems.training.adamw8bit import BYTES, AdamW8bit


def test_it_moves_as_adamw_does() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(700, generator=generator)
    mine, theirs = (start.clone().requires_grad_() for _ in range(2))
    one = AdamW8bit([mine], lr=0.01, weight_decay=0.1)
    two = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1)
    spread = torch.logspace(-6, 0, 700)  # gradients of all sizes within one block
    for _ in range(60):
        gradient = spread * (1 + 0.5 * torch.randn(700, generator=generator))
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        one.step()
        two.step()
    moved, apart = (theirs - start).detach(), (mine - theirs).detach()
    assert float(apart.norm() / moved.norm()) < 0.05
    held = sum(s.numel() * s.element_size() for k, s in one.state[mine].items() if k != "step")
    assert held <= 700 * BYTES + 4


def test_moments_follow_slow_changes_that_are_smaller_than_their_levels() -> None:
    """v sinks by a thousandth a step; rounded to the nearest it would stay where it was for ever."""
    weights = [torch.zeros(256, requires_grad=True) for _ in range(2)]
    one, two = AdamW8bit([weights[0]], lr=1e-4), torch.optim.AdamW([weights[1]], lr=1e-4)
    for step in range(1500):
        gradient = torch.ones(256)
        gradient[128:] = 1.0 if step < 100 else 0.1
        for weight, optimiser in zip(weights, (one, two), strict=True):
            weight.grad = gradient.clone()
            optimiser.step()
    mine, theirs = (float(weight.detach()[128:].mean()) for weight in weights)
    assert mine == pytest.approx(theirs, rel=0.05)


def test_a_moment_never_vanishes_under_its_gradient() -> None:
    """Rounded to zero, v would divide m by nothing."""
    weight = torch.zeros(256, requires_grad=True)
    optimiser = AdamW8bit([weight], lr=1e-3, weight_decay=0.0)
    for _ in range(5):
        weight.grad = torch.full((256,), 1e-7)
        weight.grad[0] = 1e3
        optimiser.step()
    assert float(weight.detach().abs().max()) < 0.02
