"""Muon beside torch's own, which computes in bfloat16 only, and what orthogonalisation promises."""

import pytest
import torch

from slipcast.systems.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 16)])
def test_in_bf16_it_is_torchs(shape):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mine, theirs = (start.clone().requires_grad_() for _ in range(2))
    one = Muon([mine], dtype=torch.bfloat16, lr=0.02, weight_decay=0.01)
    two = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(step + 1))
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        one.step()
        two.step()
    assert torch.allclose(mine, theirs, atol=2e-3)
    assert (mine - start).abs().mean() > 0.005
    assert torch.equal(one.state[mine]["momentum_buffer"], two.state[theirs]["momentum_buffer"])


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    made = orthogonal(matrix, torch.float32)
    values = torch.linalg.svdvals(made)
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    diagonal = left.T @ made @ right.T
    assert torch.allclose(diagonal, torch.diag(diagonal.diag()), atol=1e-4)
    assert torch.allclose(orthogonal(7 * matrix, torch.float32), made, atol=1e-5)


def test_nothing_moves_where_there_is_no_gradient():
    weight = torch.ones(4, 4, requires_grad=True)
    Muon([weight], dtype=torch.float32, lr=1.0, weight_decay=0.5).step()
    assert torch.equal(weight.detach(), torch.ones(4, 4))
