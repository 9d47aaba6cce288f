"""A domain: a folder with domain.json and a null-text UNet, seen as one more noise predictor beside its base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...configs.atomic import read_json_object
from ...configs.errors import BadInput
from ...configs.names import shown
from ...guidance.conditioning import Conditioning
from ...guidance.networks import NetworkPredictor, beside
from ...guidance.null_text import load_null_text
from ...guidance.offloading import offloaded
from ..models.base import Base
from ..models.identity import is_network, model_identity
from ..models.precision import ready
from ..models.reading import explained
from ..models.shipped import check_hashes
from .places import CARD, card_path

__all__ = ["CARD", "Domain", "load_domain", "read_card", "refuse_another_base"]


@dataclass(frozen=True)
class Domain:
    """A loaded domain; its predictor shares the base's latent space and noise schedule, and is told the same whatever
    the prompt: no text, or the words that it was learned under.
    """

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
    check_hashes(folder)
    card = read_card(folder)
    refuse_another_base(card, base)
    if not base.family.null_text:
        raise BadInput(
            f"{folder} is a null-text domain, and the base {base.name!r} has no cross-attention to take the text out "
            "of; give what --method lora or full made of that base"
        )
    rest = None if base.offload is None else base.offload.rest
    read_json_object(folder / "config.json", "the domain's config", allow_nan=True)
    with explained(folder, "the domain"):
        unet = load_null_text(folder, dtype=base.dtype).requires_grad_(False)
    unet = ready(unet, device, base.dtype, rest=rest)
    predictor = offloaded(beside(unet, base.predictor, name=card["name"]), base.offload)
    return Domain(card["name"], card, unet, predictor, base.unconditional, model_identity(folder))


def refuse_another_base(card: Mapping[str, Any], base: Base) -> None:
    """BadInput for what was learned beside other weights than the base's."""
    told = card.get("base_identity")
    if told is not None and not is_network(told, base.folder, base.predictor.prediction_type):
        raise BadInput(
            f"the domain {shown(card['name'])} was trained on other weights than those of the base {base.name!r}; "
            f"choose its base {card.get('base', '(which its card does not name)')!r} or train the domain anew"
        )


def read_card(folder: Path) -> dict[str, Any]:
    """The content of a domain's card: at least a "name". BadInput when it is missing or damaged."""
    path = card_path(folder)
    card = read_json_object(path, "the domain's card")
    for key, needed in (("name", True), ("base_identity", False)):
        if not isinstance(card.get(key), str) and (needed or card.get(key) is not None):
            raise BadInput(f"{key} in {path} expects a text, not {shown(card.get(key))}")
    return card
