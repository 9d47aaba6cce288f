"""Pieces of a field: what is one stays as it is, a thin break is bridged, what is far away is left, dirt goes."""

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from slipcast.systems.field.voxels import RAW_LIMIT
from slipcast.systems.refine.connectivity import join_pieces


def air(size=32):
    return torch.full((size,) * 3, -3.0)


def post(gap, sure=-3.0):
    """A post along z, four cells square, with a gap about its middle in which the raw density is ``sure``."""
    raw = air()
    raw[14:18, 14:18, 4:28] = 3.0
    raw[14:18, 14:18, 16 - gap // 2 : 16 + (gap + 1) // 2] = sure
    return raw


def count(raw):
    return label(raw.numpy() > 0, output=np.empty(raw.shape, np.int32))


@pytest.mark.parametrize(
    "raw", [air(), -air(), post(0), torch.randn(1, 1, 1)], ids=["air", "full", "post", "cell"]
)
def test_what_is_one_piece_or_none_stays_as_it_is(raw):
    before = raw.clone()
    assert torch.equal(join_pieces(raw), before) and torch.equal(raw, before)


@pytest.mark.parametrize("gap", [1, 3, 6])
def test_a_thin_break_is_bridged_there_and_nowhere_else(gap):
    raw = post(gap)
    joined = join_pieces(raw)
    assert count(raw) == 2 and count(joined) == 1
    changed = (joined != raw).nonzero()
    assert (joined >= raw).all()
    # The bridge's skin may lie one cell beside the post.
    assert changed[:, :2].min() >= 13 and changed[:, :2].max() <= 18
    assert changed[:, 2].min() >= 16 - gap // 2 - 1 and changed[:, 2].max() <= 16 + (gap + 1) // 2
    assert (joined > 0)[:, :, 16 - gap // 2 : 16 + (gap + 1) // 2].sum((0, 1)).min() >= 4


@pytest.mark.parametrize("side", [0, 31])
def test_a_bridge_along_the_wall_of_the_box_reaches_the_wall(side):
    raw = air()
    raw[side, side, 4:28] = 3.0
    raw[side, side, 15:17] = -3.0
    joined, inside = join_pieces(raw), 1 if side == 0 else 30
    assert count(joined) == 1 and (joined[side, side, 15:17] > 0).all()
    beside = joined[inside, side, 15:17], joined[side, inside, 15:17]
    assert all((one > raw[inside, side, 15:17]).all() for one in beside)
    opposite = joined[31 - side]
    assert torch.equal(opposite, raw[31 - side]), "nothing comes out at the other side"


def test_what_lies_far_apart_is_left_apart_but_haze_between_reaches_farther():
    assert torch.equal(join_pieces(post(9)), post(9))
    assert count(join_pieces(post(9, sure=-0.1))) == 1


def test_the_bridge_goes_where_the_field_is_least_empty():
    raw = post(6)
    raw[17, 14:18, 12:20] = torch.maximum(raw[17, 14:18, 12:20], torch.tensor(-0.1))
    assert (join_pieces(raw)[17, 14:18, 13:19] > 1).any(dim=0).all()


def test_several_pieces_become_one_and_crumbs_are_emptied():
    raw = air(48)
    raw[20:40, 20:40, 20:40] = 3.0  # 8000 cells: fewer than 8 are a crumb
    raw[16:18, 24:28, 24:28] = 3.0
    raw[12:14, 24:28, 24:28] = 3.0  # in reach of the one before only
    raw[30, 30, 10:17] = 3.0
    raw[2, 2, 2:10] = 3.0  # eight cells, far away
    joined = join_pieces(raw)
    assert count(raw) == 5 and count(joined) == 2
    assert (joined[30, 30, 10:17] == -RAW_LIMIT).all() and (joined[2, 2, 2:10] == 3).all()


def test_noise_ends_too():
    raw = torch.randn((24,) * 3, generator=torch.Generator().manual_seed(0)) - 1.5
    joined = join_pieces(raw)
    assert joined.shape == raw.shape and joined.isfinite().all()
