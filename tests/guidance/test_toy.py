"""The compared cases on the plane: guidances that must agree do, and the effect that paper 2 claims is there."""

from __future__ import annotations

import torch

from slipcast.guidance.mixture import toy_figures
from slipcast.guidance.toy import CASES, draw_samples


def test_at_weight_one_every_guidance_is_the_conditional_branch() -> None:
    one, other = (draw_samples(CASES[name], 1.0, count=20, seed=3) for name in ("wide: CFG", "wide: DoG"))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_domain_guidance_stays_in_the_domain_and_pays_with_a_mode() -> None:
    found = {name: toy_figures(draw_samples(CASES[name], 3.0, count=200, seed=0)) for name in CASES}
    assert found["wide: DoG"].outside < 0.02 < 0.3 < found["wide: CFG"].outside
    assert min(found["wide: DoG"].modes) < 0.05 < min(found["wide: CFG"].modes)
