"""A domain: a folder with domain.json and a null-text UNet, seen as one more noise predictor beside its base."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..configs.errors import BadInput
from ..guidance.null_text import load_null_text
from ..guidance.predictors import UNetPredictor
from .base import Base, fastest_dtype, weights_identity


@dataclass(frozen=True)
class Domain:
    """A loaded domain; its predictor (condition None) shares the base's latent space and noise schedule."""

    name: str
    card: dict[str, Any]
    unet: Any
    predictor: UNetPredictor
    identity: str


def load_domain(folder: Path, base: Base, *, device: str = "cpu") -> Domain:
    """Read a domain's folder for its base.

    Raises: BadInput when the folder is no domain, or one of another base.
    """
    from diffusers.models.attention_processor import AttnProcessor

    card_path = folder / "domain.json"
    try:
        card = json.loads(card_path.read_text())
        name = card["name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{folder} is not a domain: {card_path.name} is missing or unreadable ({error})"
        ) from error
    if card.get("base_identity") not in (None, base.identity):
        raise BadInput(
            f"the domain {name!r} was trained on other weights than those of the base {base.name!r}; "
            f"choose its base {card.get('base')!r} or train the domain anew"
        )
    unet = load_null_text(folder, dtype=fastest_dtype(device), device=device).requires_grad_(False)
    if device == "cpu":
        unet.set_attn_processor(AttnProcessor())
    unet = unet.to(memory_format=torch.channels_last)
    predictor = UNetPredictor(
        unet,
        schedule=base.predictor.schedule,
        prediction_type=base.predictor.prediction_type,
        latent_space=base.name,
        name=name,
    )
    return Domain(name, card, unet, predictor, weights_identity(folder))
