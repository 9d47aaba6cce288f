"""Learn a domain from pictures alone: optimise text features, turn the base into a null-text UNet, train it.

Paper 1 (arxiv.org/abs/2312.08195), section 3.3: the output F_T of the text encoder for "a photo of <domain>" is itself
optimised by the denoising loss, everything else frozen; the cross-attentions' mean answer to it becomes E; then the
text-free UNet is trained on the domain's pictures. No caption is read after the domain's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...guidance.noise import generator_on
from ...guidance.null_text import load_null_text, make_null_text, null_text_features, save_null_text
from ...guidance.schedules import NoiseSchedule
from ..models.base import Base
from ..training.loop import Budget, began_elsewhere, outcome, train


class PictureSource(Protocol):
    """Training pictures; must be picklable, since every worker opens its own."""

    def draw_pictures(self, batch: int, generator: torch.Generator) -> Tensor:
        """Pictures [B, 3, S, S] in [-1, 1], chosen and augmented by the generator."""
        ...


@dataclass(frozen=True)
class DomainRecipe:
    """How a domain is learned."""

    name: str
    prompt: str
    feature_steps: int = 100
    feature_batch: int = 32
    feature_learning_rate: float = 5e-3
    noise_shift: float = 1.6
    licence: str = "Apache-2.0"


@dataclass
class DomainTask:
    """Plain denoising of the domain's pictures by the null-text UNet; see ``training.Task``."""

    start: Path
    pictures: PictureSource
    codec: Any
    schedule: NoiseSchedule
    noise_shift: float

    def modules(self) -> dict[str, nn.Module]:
        """The null-text UNet as surgery left it."""
        return {"unet": load_null_text(self.start)}

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Make ready in this process; attention as plain matrix products, whose backward is quick in bf16 on CPUs."""
        from diffusers.models.attention_processor import AttnProcessor

        modules["unet"].set_attn_processor(AttnProcessor())  # pyright: ignore
        self._unet: Any = modules["unet"].train()
        self._codec, self._device = self.codec.to(device), device

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """Mean squared error of v."""
        with torch.no_grad():
            latents = self._codec.encode(
                self.pictures.draw_pictures(batch, generator).to(self._device)
            ).latents
        noisy, t, v = noised(latents, self.schedule, generator, self.noise_shift)
        noisy = noisy.to(self._unet.dtype, memory_format=torch.channels_last)
        return (self._unet(noisy, t, None).sample.float() - v).square().mean()


def noised(
    latents: Tensor, schedule: NoiseSchedule, generator: torch.Generator, shift: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(x_t, t, v) for a training step: stratified timesteps moved towards high noise, u -> s u / (1 + (s - 1) u).

    All are where the latents are.
    """
    batch = len(latents)
    u = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    u = u[torch.randperm(batch, generator=generator)]
    t = (shift * u / (1 + (shift - 1) * u) * len(schedule)).long().clamp(0, len(schedule) - 1)
    t, drawn = t.to(latents.device), generator_on(latents.device, generator)
    noise = torch.randn(latents.shape, generator=drawn, device=latents.device)
    noisy = schedule.add_noise(latents, noise, t)
    return noisy, t, schedule.v_from_eps(noisy, noise, t)


def optimise_text_features(
    base: Base, pictures: PictureSource, recipe: DomainRecipe, *, seed: int
) -> tuple[Tensor, list[float]]:
    """F_T [1, T, C] and the loss of every step; network and text encoder stay frozen."""
    unet, schedule = base.pipeline.unet, base.predictor.schedule
    features = base.encode_text([recipe.prompt]).requires_grad_()
    optimiser = torch.optim.Adam([features], lr=recipe.feature_learning_rate)
    losses = []
    for step in range(recipe.feature_steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        latents = base.encode(pictures.draw_pictures(recipe.feature_batch, generator) / 2 + 0.5)
        noisy, t, v = noised(latents, schedule, generator, recipe.noise_shift)
        text = features.expand(len(latents), -1, -1).to(unet.dtype)
        loss = (unet(noisy.to(unet.dtype), t, text).sample.float() - v).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return features.detach(), losses


def train_domain(
    base: Base, pictures: PictureSource, recipe: DomainRecipe, work: Path, out: Path, budget: Budget
) -> dict[str, Any]:
    """Train (or go on training) a domain and write its folder: domain.json and the null-text UNet, float16."""
    start, features_note = work / "start", work / "features.json"
    if began_elsewhere(work, base.identity) or not features_note.exists():
        features, losses = optimise_text_features(base, pictures, recipe, seed=budget.seed)
        generator = torch.Generator().manual_seed(budget.seed)
        latents = base.encode(pictures.draw_pictures(64, generator) / 2 + 0.5)
        noisy, t, _ = noised(latents, base.predictor.schedule, generator, recipe.noise_shift)
        null_text = make_null_text(
            base.pipeline.unet, null_text_features(base.pipeline.unet, features, noisy, t)
        )
        save_null_text(null_text.float().requires_grad_(True), start)
        features_note.write_text(json.dumps({"losses": losses}))
    task = DomainTask(start, pictures, base.pipeline.vae, base.predictor.schedule, recipe.noise_shift)
    unet = train(task, work, budget, label=f"domain {recipe.name}")["unet"]
    save_null_text(unet, out, dtype=torch.float16)
    card = {
        "name": recipe.name,
        "prompt_template": "{prompt}",
        "base": base.name,
        "base_identity": base.identity,
        "licence": recipe.licence,
        "recipe": asdict(recipe),
        "training": outcome(work, budget),
    }
    (out / "domain.json").write_text(json.dumps(card, indent=2))
    return card
