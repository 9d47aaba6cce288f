"""The guided denoiser that picture and refinement share: prior, domain and prompt in one sum (paper 1, Eq. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...guidance.algebra import Branch
from ...guidance.conditioning import Condition
from ...guidance.evaluation import GuidedNoise
from ...guidance.predictors import NoisePredictor
from ...guidance.recipes import in_domain, interval

UNCONDITIONAL, DOMAIN, TEXT = "unconditional", "domain", "text"


class Speaks(Protocol):
    """What is needed of a domain (``domain.Domain``)."""

    @property
    def predictor(self) -> NoisePredictor:
        """Its eps."""
        ...

    @property
    def condition(self) -> Condition:
        """What it is told."""
        ...


class ReadsText(Protocol):
    """What is needed of a base (``base.Base``)."""

    @property
    def predictor(self) -> NoisePredictor:
        """Its eps."""
        ...

    def condition(self, prompts: Sequence[str], /) -> Condition:
        """What it is told for each prompt."""
        ...


@dataclass(frozen=True)
class Weights:
    """w_g and w_c of Eq. 6; the domain term is on while the noise fraction t / T is at most ``domain_until``."""

    domain: float
    text: float
    domain_until: float = 1.0


def in_domain_noise(base: ReadsText, domain: Speaks, prompts: Sequence[str], weights: Weights) -> GuidedNoise:
    """eps(null) + w_g (eps_domain - eps(null)) + w_c (eps(prompt) - eps(null)).

    Args:
        prompts: one for the whole batch, or one per sample (view words and grounds differ in score distillation).
    """
    null, texts = base.condition([""]), base.condition(list(prompts))
    return GuidedNoise(
        in_domain(
            Branch(UNCONDITIONAL, base.predictor, null),
            (
                Branch(DOMAIN, domain.predictor, domain.condition),
                interval(weights.domain, 0.0, weights.domain_until),
            ),
            [(Branch(TEXT, base.predictor, texts), weights.text)],
        )
    )


@torch.no_grad()
def evidence(
    guided: GuidedNoise, latents: Tensor, generator: torch.Generator, *, draws: int = 4
) -> dict[str, Tensor]:
    """How much better text and domain explain a picture than the bare prior does, in nats per latent entry [B].

    The denoising errors of a diffusion model bound its likelihood (arxiv.org/abs/2303.16203, diffusion classifier);
    the same noise is used for all branches and ``draws`` noises are averaged per level: one is too few to tell two
    good pictures apart. Both terms must be switched on in ``guided`` at these noise levels.
    """
    gains = {name: torch.zeros(len(latents), device=latents.device) for name in (TEXT, DOMAIN)}
    levels = [round(fraction * len(guided.schedule)) for fraction in (0.3, 0.45, 0.6, 0.75)] * draws
    for level in levels:
        t = torch.full((len(latents),), level, device=latents.device)
        noise = torch.randn(latents.shape, generator=generator).to(latents.device)
        answers = guided.branches(guided.schedule.add_noise(latents, noise, t), t)
        error = {name: (eps - noise).square().mean((1, 2, 3)) for name, eps in answers.items()}
        for name in gains:
            if name in error:
                gains[name] += (error[UNCONDITIONAL] - error[name]) / len(levels)
    return gains
