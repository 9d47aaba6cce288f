"""The norm-balance rule."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipcast.guidance import balance, balanced_weights

NORMS = st.floats(0.01, 100)


@given(reference=NORMS, norms=st.lists(NORMS, min_size=1, max_size=4), total=st.floats(0.1, 50))
def test_law_the_weighted_lengths_sum_to_plain_guidance(reference, norms, total) -> None:
    weights = balanced_weights(reference, norms, total=total)
    assert sum(w * n for w, n in zip(weights, norms, strict=True)) == pytest.approx(total * reference)
    raw = [i + 1.0 for i in range(len(norms))]
    shares = [r / sum(raw) for r in raw]
    weights = balanced_weights(reference, norms, total=total, shares=shares)
    for w, n, share in zip(weights, norms, shares, strict=True):
        assert w * n == pytest.approx(share * total * reference)


def samples() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(2, 2, 3, 3, generator=generator, dtype=torch.float64), torch.tensor([t, 999 - t]))
        for t in (10, 300)
    ]


def test_measured_from_the_differences(branches) -> None:
    base, text, domain = branches(3)
    w_g, w_c = balance(base, text, [domain, text], samples(), total=7.0)
    # The control is the reference itself: it gets exactly half of plain guidance.
    assert w_c == pytest.approx(3.5)
    e_0, e_c, e_d = (b.predictor.eps for b in (base, text, domain))
    assert w_g == pytest.approx(3.5 * float((e_c - e_0).norm() / (e_d - e_0).norm()))


def test_measured_from_the_predictions(branches) -> None:
    base, text, domain = branches(3)
    w_g, w_c = balance(base, text, [domain, text], samples(), norm="eps")
    e_0, e_c, e_d = (b.predictor.eps for b in (base, text, domain))
    assert w_g == pytest.approx(3.5 * float(e_0.norm() / e_d.norm()))
    assert w_c == pytest.approx(3.5 * float(e_0.norm() / e_c.norm()))


def test_nonsense_is_refused(branches) -> None:
    base, text = branches(2)
    with pytest.raises(ValueError, match="shares that sum to 1"):
        balanced_weights(1.0, [1.0, 2.0], shares=[0.5, 0.6])
    with pytest.raises(ValueError, match="two branches agree"):
        balanced_weights(1.0, [1.0, 0.0])
    with pytest.raises(ValueError, match="at least one"):
        balance(base, text, [text], [])
    with pytest.raises(ValueError, match="not 'L2'"):
        balance(base, text, [text], samples(), norm="L2")
