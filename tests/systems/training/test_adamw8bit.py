"""AdamW with moments of 8 bits beside torch's own, and what it costs."""

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
    assert float(apart[-200:].abs().max()) < 0.02
    held = sum(s.numel() * s.element_size() for k, s in one.state[mine].items() if k != "step")
    assert held <= 700 * BYTES + 4


def test_a_moment_never_vanishes_under_its_gradient() -> None:
    """Rounded to zero, v would divide m by nothing."""
    weight = torch.zeros(256, requires_grad=True)
    optimiser = AdamW8bit([weight], lr=1e-3, weight_decay=0.0)
    for _ in range(5):
        weight.grad = torch.full((256,), 1e-7)
        weight.grad[0] = 1e3
        optimiser.step()
    assert float(weight.detach().abs().max()) < 0.02
