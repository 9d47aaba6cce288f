"""Where domains lie that somebody learned: a folder of them, in which each is found by its name.

``domains`` in the working folder, beside ``runs``, or whatever the environment variable SLIPCAST_DOMAINS names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...configs.errors import BadInput
from ...configs.names import shown, unknown_name
from ...configs.paths import given_path
from ..models.known import NO_DOMAIN, SHIPPED

CARD = "domain.json"
CARDS = (CARD, "model.json", "lora.json")
"""Cards of what is learned: a domain, a whole model, a LoRA."""
VARIABLE = "SLIPCAST_DOMAINS"
TRAINING = ".training"
_NAME = re.compile(r"[\w][\w .-]{0,63}")


def domains_folder() -> Path:
    """The folder of domains by name; it need not exist."""
    return given_path(os.environ.get(VARIABLE) or "domains", VARIABLE)


def card_path(folder: Path) -> Path:
    """The card of what was learned: domain.json, or that of a whole model or a LoRA where there is none."""
    return next((path for name in CARDS if (path := folder / name).is_file()), folder / CARD)


def checked_name(name: str) -> str:
    """A name for a new domain. BadInput for one that is taken by us, or cannot be a folder's."""
    if not _NAME.fullmatch(name) or name.endswith((".", " ", TRAINING)):
        raise BadInput(
            f"--name expects letters, digits, blanks, - and _, 64 at most, such as porcelain, not {shown(name)}"
        )
    if name in (NO_DOMAIN, *SHIPPED["domain"]):
        raise BadInput(f"--name {name} is taken by slipcast itself; choose another")
    return name


def find_domain(name: str, what: str = "domain") -> Path:
    """The folder of a domain by its path or its name: a path goes first.

    Raises: BadInput with the nearest name where there is neither.
    """
    path = given_path(name, what)
    places = (path, domains_folder() / name if path.name == name else path)
    for place in places:
        if (place / CARD).is_file():
            return place
    for place in places:
        if any((place / card).is_file() for card in CARDS):
            raise BadInput(
                f"{place} is a LoRA or a whole model, which is told its prompt and has no weights to balance; "
                "only a null-text domain has"
            )
    raise unknown_name("domain", name, [one.name for one in known_domains() if (one / CARD).is_file()])


def known_domains() -> list[Path]:
    """Whatever was learned into the folder of domains, by name: domains, models and LoRAs."""
    folder = domains_folder()
    places = sorted(folder.iterdir()) if folder.is_dir() else []
    return [place for place in places if any((place / card).is_file() for card in CARDS)]
