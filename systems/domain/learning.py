"""Learn a domain from pictures alone: optimise text features, turn the base into a null-text UNet, train it.

Paper 1 (arxiv.org/abs/2312.08195), section 3.3: the output F_T of the text encoder for "a photo of <domain>" is itself
optimised by the denoising loss, everything else frozen; the cross-attentions' mean answer to it becomes E; then the
text-free UNet is trained on the domain's pictures. No caption is read after the domain's name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...configs.atomic import write_json
from ...configs.errors import SlipcastError
from ...guidance.conditioning import Conditioning
from ...guidance.networks import UNetPredictor, beside
from ...guidance.null_text import load_null_text, make_null_text, null_text_features, save_null_text
from ...guidance.schedules import Schedule
from ...guidance.training import Example, draw_example
from ..models.base import Base
from ..models.codec import Codec
from ..training.loop import Budget, began_elsewhere, outcome, train
from .model import CARD


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
    """Denoising of the domain's pictures by the null-text UNet, told what a ``Domain`` is told; see ``training.Task``.

    It predicts what its base predicts, since that is how it is read back.
    """

    start: Path
    pictures: PictureSource
    codec: Codec
    schedule: Schedule
    prediction_type: str
    condition: Conditioning
    noise_shift: float

    def modules(self) -> dict[str, nn.Module]:
        """The null-text UNet as surgery left it."""
        return {"unet": load_null_text(self.start)}

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Make ready in this process; attention as plain matrix products, whose backward is quick in bf16 on CPUs."""
        from diffusers.models.attention_processor import AttnProcessor

        unet: Any = modules["unet"]
        unet.set_attn_processor(AttnProcessor())
        self.codec = self.codec.alone(device)
        self._predictor = UNetPredictor(
            unet.train(),
            schedule=self.schedule,
            prediction_type=self.prediction_type,
            latent_space=self.codec.latent_space,
            name="domain",
        )

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """Mean squared error of what the base predicts (eps, v, x0 or flow)."""
        with torch.no_grad():
            latents = self.codec.encode(self.pictures.draw_pictures(batch, generator) / 2 + 0.5)
        example = draw_example(
            latents, self.schedule, self.prediction_type, generator, shift=self.noise_shift
        )
        return self._predictor.loss(example, self.condition)


def optimise_text_features(
    base: Base, pictures: PictureSource, recipe: DomainRecipe, *, seed: int
) -> tuple[Conditioning, list[float]]:
    """F_T [1, T, C] and the loss of every step; network and text encoder stay frozen.

    F_T comes with what the null-text network will be told as well: for SDXL the pooled text of no prompt, and sizes.

    Raises: SlipcastError when a loss is NaN or infinite.
    """
    network = beside(base.predictor.network, base.predictor, name=base.name)
    features = base.encode_text([recipe.prompt]).requires_grad_()
    told = replace(base.unconditional, text=features)
    optimiser = torch.optim.Adam([features], lr=recipe.feature_learning_rate)
    losses = []
    for step in range(recipe.feature_steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        loss = network.loss(_example(base, pictures, recipe.feature_batch, recipe, generator), told)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise SlipcastError(
                f"the loss of {base.name!r} on the pictures of {recipe.name!r} became {losses[-1]} at step {step}; "
                "check its weights and the pictures"
            )
    return replace(told, text=features.detach()), losses


def _example(
    base: Base, pictures: PictureSource, batch: int, recipe: DomainRecipe, generator: torch.Generator
) -> Example:
    latents = base.encode(pictures.draw_pictures(batch, generator) / 2 + 0.5)
    said = base.predictor
    return draw_example(latents, said.schedule, said.prediction_type, generator, shift=recipe.noise_shift)


def train_domain(
    base: Base, pictures: PictureSource, recipe: DomainRecipe, work: Path, out: Path, budget: Budget
) -> dict[str, Any]:
    """Train (or go on training) a domain and write its folder: domain.json and the null-text UNet, float16."""
    start, features_note = work / "start", work / "features.json"
    if began_elsewhere(work, base.identity) or not features_note.exists():
        told, losses = optimise_text_features(base, pictures, recipe, seed=budget.seed)
        unet = base.predictor.network
        example = _example(base, pictures, 64, recipe, torch.Generator().manual_seed(budget.seed))
        null_text = make_null_text(unet, null_text_features(unet, told, example.x, example.t))
        save_null_text(null_text.float().requires_grad_(True), start)
        write_json(features_note, {"losses": losses})
    task = DomainTask(
        start,
        pictures,
        base.codec.alone(),
        base.predictor.schedule,
        base.predictor.prediction_type,
        base.unconditional,
        recipe.noise_shift,
    )
    unet = train(task, work, budget, label=f"domain {recipe.name}")["unet"]
    save_null_text(unet, out, dtype=torch.float16)
    card = {
        "name": recipe.name,
        "prompt_template": "{prompt}",
        "base": base.name,
        "base_identity": base.network_identity,
        "licence": recipe.licence,
        "recipe": asdict(recipe),
        "training": outcome(work, budget),
    }
    write_json(out / CARD, card)
    return card
