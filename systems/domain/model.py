"""A domain: a folder with domain.json and a null-text UNet, seen as one more noise predictor beside its base."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ...guidance.conditioning import Conditioning
from ...guidance.networks import NetworkPredictor, UNetPredictor
from ...guidance.null_text import load_null_text
from ...guidance.offloading import seated
from ..models.base import Base, weights_identity
from ..models.precision import ready


@dataclass(frozen=True)
class Domain:
    """A loaded domain; its predictor shares the base's latent space and noise schedule, and is told no text."""

    name: str
    card: dict[str, Any]
    unet: Any
    predictor: NetworkPredictor
    condition: Conditioning
    identity: str


def load_domain(folder: Path, base: Base, *, device: str = "cpu") -> Domain:
    """Read a domain's folder for its base.

    Raises: BadInput when the folder is no domain, or one of another base.
    """
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
    rest = None if base.seat is None else base.seat.rest
    unet = load_null_text(folder, dtype=base.dtype).requires_grad_(False)
    unet = ready(unet, device, base.dtype, rest=rest)
    predictor = UNetPredictor(
        unet,
        schedule=base.predictor.schedule,
        prediction_type=base.predictor.prediction_type,
        latent_space=base.predictor.latent_space,
        name=name,
    )
    return Domain(
        name, card, unet, seated(predictor, base.seat), base.unconditional, weights_identity(folder)
    )
