"""Learn a domain from pictures alone: optimise text features, turn the base into a null-text UNet, train it.

Paper 1 (arxiv.org/abs/2312.08195), section 3.3: the output F_T of the text encoder for "a photo of <domain>" is itself
optimised by the denoising loss, everything else frozen; the cross-attentions' mean answer to it becomes E; then the
text-free UNet is trained on the domain's pictures. No caption is read after the domain's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...configs.atomic import write_json
from ...configs.errors import SlipcastError
from ...guidance.conditioning import Condition, Conditioning, as_conditioning
from ...guidance.networks import beside
from ...guidance.null_text import load_null_text, make_null_text, null_text_features, save_null_text
from ...guidance.training import Example, draw_example
from ..models.base import Base
from ..training.loop import Budget, began_elsewhere, outcome, train
from .model import CARD, read_card
from .sources import Batches, Encoded, LatentSource, PictureSource
from .tasks import DenoisingTask

__all__ = [
    "DomainRecipe",
    "PictureSource",
    "begin_from_domain",
    "begin_null_text",
    "optimise_text_features",
    "train_domain",
]

_SURGERY_BATCH = 64


@dataclass(frozen=True)
class DomainRecipe:
    """How a domain is learned.

    Attributes:
        feature_parts: how many parts a batch of the features' optimisation is computed in, to fit into memory.
        noise_shift: see ``guidance.training.draw_example``.
    """

    name: str
    prompt: str
    feature_steps: int = 100
    feature_batch: int = 32
    feature_learning_rate: float = 5e-3
    noise_shift: float = 1.6
    licence: str = "Apache-2.0"
    feature_parts: int = 1


def optimise_text_features(
    base: Base,
    source: Batches,
    recipe: DomainRecipe,
    *,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Conditioning, list[float]]:
    """F_T [1, T, C] and the loss of every step; network and text encoder stay frozen.

    F_T comes with what the null-text network will be told as well: for SDXL the pooled text of no prompt, and sizes.

    Raises: SlipcastError when a loss is NaN or infinite.
    """
    network = beside(base.predictor.network, base.predictor, name=base.name)
    features = base.encode_text([recipe.prompt]).requires_grad_()
    optimiser = torch.optim.Adam([features], lr=recipe.feature_learning_rate)
    batch, losses = max(1, recipe.feature_batch // recipe.feature_parts), []
    for step in range(recipe.feature_steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        optimiser.zero_grad()
        told = 0.0
        for _ in range(recipe.feature_parts):
            example, condition = _example(base, source, batch, recipe, generator)
            loss = network.loss(example, replace(as_conditioning(condition), text=features))
            (loss / recipe.feature_parts).backward()
            told += loss.item() / recipe.feature_parts
        optimiser.step()
        losses.append(told)
        if not math.isfinite(told):
            raise SlipcastError(
                f"the loss of {base.name!r} on the pictures of {recipe.name!r} became {told} at step {step}; "
                "check its weights and the pictures"
            )
        advance()
    return replace(base.unconditional, text=features.detach()), losses


def _example(
    base: Base, source: Batches, batch: int, recipe: DomainRecipe, generator: torch.Generator
) -> tuple[Example, Condition]:
    latents, told = source.draw(batch, generator)
    said = base.predictor
    kind = said.prediction_type
    return draw_example(latents, said.schedule, kind, generator, shift=recipe.noise_shift), told


def begin_null_text(
    base: Base,
    source: Batches,
    recipe: DomainRecipe,
    work: Path,
    *,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Write the null-text UNet that training starts from to ``work/start``, and the losses of its features."""
    told, losses = optimise_text_features(base, source, recipe, seed=seed, advance=advance)
    unet, generator = base.predictor.network, torch.Generator().manual_seed(seed)
    example, _ = _example(base, source, _SURGERY_BATCH // recipe.feature_parts, recipe, generator)
    null_text = make_null_text(unet, null_text_features(unet, told, example.x, example.t))
    save_null_text(null_text.float().requires_grad_(True), work / "start")
    write_json(work / "features.json", {"prompt": recipe.prompt, "losses": losses})


def begin_from_domain(domain: Path, work: Path) -> None:
    """Let ``train_domain`` go on in ``work`` from a trained domain of the same base, in the place of surgery."""
    card = read_card(domain)
    if began_elsewhere(work, card["base_identity"]) or not (work / "features.json").exists():
        save_null_text(load_null_text(domain).float().requires_grad_(True), work / "start")
        write_json(work / "features.json", {"prompt": card["recipe"]["prompt"], "losses": []})


def train_domain(
    base: Base, pictures: PictureSource, recipe: DomainRecipe, work: Path, out: Path, budget: Budget
) -> dict[str, Any]:
    """Train (or go on training) a domain and write its folder: domain.json and the null-text UNet, float16."""
    source = Encoded(pictures, base.codec.alone(), base.unconditional)
    if began_elsewhere(work, base.network_identity) or not (work / "features.json").exists():
        begin_null_text(base, source, recipe, work, seed=budget.seed)
    task = null_text_task(base, source, work / "start", recipe)
    unet = train(task, work, budget, label=f"domain {recipe.name}")["unet"]
    save_null_text(unet, out, dtype=torch.float16)
    settings = {key: value for key, value in asdict(recipe).items() if key != "feature_parts"}
    card = {
        "name": recipe.name,
        "prompt_template": "{prompt}",
        "base": base.name,
        "base_identity": base.network_identity,
        "licence": recipe.licence,
        "recipe": settings,
        "training": outcome(work, budget),
    }
    write_json(out / CARD, card)
    return card


def null_text_task(
    base: Base, source: LatentSource, start: Path, recipe: DomainRecipe, **options: Any
) -> DenoisingTask:
    """Denoising of the domain's pictures by a null-text UNet, told what a ``Domain`` is told."""
    return DenoisingTask(
        start,
        load_null_text,
        base.family.predictor,
        source,
        base.predictor.schedule,
        base.predictor.prediction_type,
        base.predictor.latent_space,
        recipe.noise_shift,
        **options,
    )
