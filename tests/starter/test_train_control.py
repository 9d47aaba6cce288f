"""The training of the starter's control: it begins as the prior, moves nothing else, and is judged on fit pictures."""

import pytest
import torch

from slipcast.configs.errors import BadInput
from slipcast.starter.dataset import build_shards
from slipcast.starter.train_control import ControlTask, canonical_pictures, edges_of, random_edges
from slipcast.systems.models.known import WEIGHTS


def shards(folder, split):
    for _ in build_shards(folder, split=split, count=2, views=2, seed=5):
        pass
    return folder


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return shards(tmp_path_factory.mktemp("shards"), "prior")


@pytest.fixture
def task(known):
    task = ControlTask(known, WEIGHTS / "prior")
    task.open({name: module.bfloat16() for name, module in task.modules().items()}, "cpu")
    return task


def test_a_fresh_control_leaves_the_prior_as_it_is(task):
    """Zero convolutions: whatever is made of the edges, nothing of it arrives."""
    before = task.loss(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in task._control.controlnet_cond_embedding.parameters():
            parameter.fill_(0.1)
    assert torch.equal(task.loss(2, torch.Generator().manual_seed(0)), before)


def test_only_the_control_learns(task):
    task.loss(2, torch.Generator().manual_seed(0)).backward()
    assert task._control.controlnet_mid_block.weight.grad.abs().sum() > 0
    frozen = (*task._unet.parameters(), *task._base.pipeline.text_encoder.parameters())
    assert all(parameter.grad is None for parameter in frozen)


def test_training_edges_repeat_for_a_seed_and_vary_in_their_thresholds():
    stripes = torch.linspace(-1, 1, 8).repeat_interleave(8).expand(16, 3, 64, 64).clone()
    stripes *= torch.linspace(1, 0, 64)[:, None]  # they fade downwards: thresholds decide how far edges reach
    edges = random_edges(stripes, torch.Generator().manual_seed(1))
    assert torch.equal(edges, random_edges(stripes, torch.Generator().manual_seed(1)))
    assert torch.equal(edges[:, :1].expand(-1, 3, -1, -1), edges)
    assert len({float(one.sum()) for one in edges}) > 2
    most, least = (edges_of(stripes[:1] / 2 + 0.5, [factor]).sum() for factor in (0.5, 2.0))
    assert all(least <= one.sum() <= most for one in edges)


def test_control_is_judged_on_the_first_picture_of_what_the_prior_knows(known, tmp_path):
    pictures, captions = canonical_pictures(known, 64)
    assert pictures.shape == (2, 3, 128, 128)
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert all(captions)
    with pytest.raises(BadInput, match="porcelain only"):
        canonical_pictures(shards(tmp_path, "domain"), 64)
