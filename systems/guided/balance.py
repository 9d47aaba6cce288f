"""Weights measured on the models at hand: domain and text share what plain guidance would do (``guidance.balance``)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...guidance.balance import balance
from ...guidance.evaluation import GuidedNoise
from ...guidance.recipes import cfg
from ...guidance.sampling import sample, seeded_noise
from .branches import Ingredients

_STEPS, _PICTURES = 8, 2


def balanced(
    made: Ingredients,
    total: float,
    scheduler: Any,
    latent_shape: tuple[int, int, int],
    *,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Weights of domain and text by the length of their differences, w_i = rho w_0 N_ref / N_i (paper 1).

    Measured along a short trajectory of plain guidance at weight ``total``, from seeds of its own.
    """
    noise, generators = seeded_noise(range(10**6, 10**6 + _PICTURES), latent_shape, device=device)
    plain, seen = GuidedNoise(cfg(made.start, made.text, total)), list[tuple[Tensor, Tensor]]()

    def noted(x_t: Tensor, t: Tensor) -> Tensor:
        seen.append((x_t.float(), t))
        return plain(x_t, t)

    with torch.no_grad():
        sample(noted, scheduler, noise, steps=_STEPS, generator=generators)
    weights = balance(made.start, made.text, [made.in_domain, made.text], seen, total=total)
    return dict(zip(("domain", "text"), (round(w, 3) for w in weights), strict=True))
