"""What is known of the domains on this machine: a line each, or all that a card says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...configs.atomic import read_json_object
from ...configs.errors import BadInput
from ...configs.paths import given_path
from ...systems.domain.places import CARDS, TRAINING, domains_folder, known_domains
from ...systems.models.known import SHIPPED, WEIGHTS

_KINDS = {"domain.json": "domain", "model.json": "model", "lora.json": "lora"}


def list_domains() -> list[dict[str, Any]]:
    """Those that ship, and those in the folder of domains: name, kind, base, licence, folder, state of its training.

    A damaged card is told as such, and hides no other.
    """
    places = [(name, WEIGHTS / one.folder) for name, one in SHIPPED["domain"].items()]
    places += [(place.name, place) for place in known_domains()]
    found = []
    for name, place in places:
        try:
            found.append({"name": name, **summary(place), "folder": str(place)})
        except BadInput as error:
            found.append({"name": name, "kind": "damaged", "folder": str(place), "error": str(error)})
    done = {one["name"] for one in found}
    folder = domains_folder()
    for work in sorted(folder.glob(f"*{TRAINING}")) if folder.is_dir() else []:
        name = work.name.removesuffix(TRAINING)
        if name not in done:
            found.append({"name": name, "kind": "unfinished", "folder": str(work)})
    return found


def summary(place: Path) -> dict[str, Any]:
    """Of one folder: kind, base, licence, gain on held-out pictures."""
    card = card_of_any(place)
    training = card.get("training")
    gain = training.get("held_out_gain") if isinstance(training, dict) else None
    return {
        "kind": card["kind"],
        "base": card.get("base", "unknown"),
        "licence": card.get("licence", "unknown"),
        "gain": gain,
    }


def find_learned(name: str) -> Path:
    """The folder of a domain, model or LoRA by path or by name; of one that ships too.

    Raises: BadInput with the nearest name where there is none.
    """
    from ...configs.names import unknown_name

    if name in SHIPPED["domain"]:
        return WEIGHTS / SHIPPED["domain"][name].folder
    path = given_path(name, "the domain")
    for place in (path, domains_folder() / name if path.name == name else path):
        if any((place / card).is_file() for card in CARDS):
            return place
    known = [*SHIPPED["domain"], *(one.name for one in known_domains())]
    raise unknown_name("domain", name, known)


def card_of_any(place: Path) -> dict[str, Any]:
    """What the card in a folder says, and its "kind"."""
    card = next(card for card in CARDS if (place / card).is_file())
    return read_json_object(place / card, "the card") | {"kind": _KINDS[card]}


def training_of(name: str) -> Path:
    """The folder of a domain, there or not yet, that a training belongs to."""
    path = given_path(name, "the domain")
    for place in (path, domains_folder() / name if path.name == name else path):
        if place.with_name(place.name + TRAINING).is_dir():
            return place
    raise BadInput(
        f"there is no training of a domain {name!r}; `slipcast domain list` shows which there are, and "
        "`slipcast domain train` begins one"
    )
