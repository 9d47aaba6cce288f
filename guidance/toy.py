"""The cases in which domain guidance and classifier-free guidance are compared on a plane (``mixture.domain_toy``).

Three states of the fine-tuned model: exact; a conditional branch that is too wide; and the same with a broader null
branch. Samples come from the recipes and the sampling loop that make pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .algebra import Guidance
from .evaluation import GuidedNoise
from .mixture import DomainToy, domain_toy
from .recipes import cfg, domain_guidance
from .sampling import sample
from .schedules import from_diffusers

STEPS = 24
WEIGHTS = (1.0, 1.5, 2.0, 3.0, 4.0)
"""The guidance weights that are compared."""


def by_cfg(toy: DomainToy, weight: float) -> Guidance:
    """Away from the fine-tuned model's own null branch."""
    return cfg(toy.null, toy.conditional, weight)


def by_domain_guidance(toy: DomainToy, weight: float) -> Guidance:
    """Away from the pre-trained model."""
    return domain_guidance(toy.pretrained, toy.conditional, weight)


@dataclass(frozen=True)
class Case:
    """A recipe, and the widths that the fine-tuned model has learned."""

    recipe: Callable[[DomainToy, float], Guidance]
    widths: Mapping[str, float] = field(default_factory=dict)


WIDE = {"conditional_sd": 0.20}
# As broad as the prior's modes: against "wide: DoG", only the places of the modes tell the two guides apart.
BROAD_NULL = WIDE | {"null_sd": 0.35}
CASES = {
    "exact: CFG": Case(by_cfg),
    "exact: DoG": Case(by_domain_guidance),
    "wide: CFG": Case(by_cfg, WIDE),
    "wide: DoG": Case(by_domain_guidance, WIDE),
    "wide, broad null: CFG": Case(by_cfg, BROAD_NULL),
}
"""By name."""


def draw_samples(case: Case, weight: float, *, count: int, seed: int) -> Tensor:
    """Samples [count, 2, 1, 1], float64, from the same noise in every case."""
    scheduler = heun()
    toy = domain_toy(from_diffusers(scheduler), **case.widths)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 2, 1, 1, generator=generator, dtype=torch.float64)
    return sample(GuidedNoise(case.recipe(toy, weight)), scheduler, noise, steps=STEPS)


def heun() -> Any:
    """Heun's method on Karras' noise levels, over Stable Diffusion's noise schedule."""
    from diffusers import HeunDiscreteScheduler

    return HeunDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", use_karras_sigmas=True
    )
