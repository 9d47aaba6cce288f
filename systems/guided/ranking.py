"""Which of several pictures is what was asked for: by how much a condition explains them better than the bare prior."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...guidance.algebra import Branch
from ...guidance.evaluation import GuidedNoise
from ...guidance.recipes import around

_LEVELS = (0.3, 0.45, 0.6, 0.75)  # noise fractions


@torch.no_grad()
def evidence(
    null: Branch, targets: Sequence[Branch], latents: Tensor, generator: torch.Generator, *, draws: int = 4
) -> dict[str, Tensor]:
    """How much better each target explains a picture than the bare prior does, in nats per latent entry, {name: [B]}.

    The denoising errors of a diffusion model bound its likelihood (arxiv.org/abs/2303.16203, diffusion classifier);
    the same noise is used for all branches and ``draws`` noises are averaged per level: one is too few to tell two
    good pictures apart.

    Args:
        null: the prior without a prompt.
        latents: clean pictures [B, C, h, w].
        generator: on the CPU.
    """
    guided = GuidedNoise(around(null, *((target, 1.0) for target in targets)))
    gains = {target.name: latents.new_zeros(len(latents)) for target in targets}
    levels = [round(fraction * len(guided.schedule)) for fraction in _LEVELS] * draws
    for level in levels:
        t = torch.full((len(latents),), level, device=latents.device)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        answers = guided.branches(guided.schedule.add_noise(latents, noise, t), t)
        error = {name: (eps - noise).square().mean((1, 2, 3)) for name, eps in answers.items()}
        for name in gains:
            gains[name] += (error[null.name] - error[name]) / len(levels)
    return gains
