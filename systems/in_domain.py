"""The guided denoiser that picture and refinement share: prior, domain and prompt in one sum (paper 1, Eq. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..guidance.algebra import Branch
from ..guidance.evaluation import GuidedNoise
from ..guidance.predictors import NoisePredictor
from ..guidance.recipes import in_domain, interval

UNCONDITIONAL, DOMAIN, TEXT = "unconditional", "domain", "text"


class Speaks(Protocol):
    """What is needed of a domain (``domain.Domain``)."""

    @property
    def predictor(self) -> NoisePredictor:
        """Its eps."""
        ...


class ReadsText(Speaks, Protocol):
    """What is needed of a base (``base.Base``)."""

    def encode_text(self, prompts: list[str], /) -> Tensor:
        """Text features [B, T, C]."""
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
    null, *texts = base.encode_text(["", *prompts]).split(1)
    return GuidedNoise(
        in_domain(
            Branch(UNCONDITIONAL, base.predictor, null),
            (Branch(DOMAIN, domain.predictor, None), interval(weights.domain, 0.0, weights.domain_until)),
            [(Branch(TEXT, base.predictor, torch.cat(texts)), weights.text)],
        )
    )


@torch.no_grad()
def evidence(guided: GuidedNoise, latents: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """How much better text and domain explain a picture than the bare prior does, in nats per latent entry [B].

    The denoising errors of a diffusion model bound its likelihood (arxiv.org/abs/2303.16203, diffusion classifier);
    the same noise is used for all branches. Both terms must be switched on in ``guided`` at these noise levels.
    """
    gains = {TEXT: torch.zeros(len(latents)), DOMAIN: torch.zeros(len(latents))}
    levels = [round(fraction * len(guided.schedule)) for fraction in (0.3, 0.45, 0.6, 0.75)]
    for level in levels:
        t = torch.full((len(latents),), level)
        noise = torch.randn(latents.shape, generator=generator)
        answers = guided.branches(guided.schedule.add_noise(latents, noise, t), t)
        error = {name: (eps - noise).square().mean((1, 2, 3)) for name, eps in answers.items()}
        for name in gains:
            if name in error:
                gains[name] += (error[UNCONDITIONAL] - error[name]) / len(levels)
    return gains
