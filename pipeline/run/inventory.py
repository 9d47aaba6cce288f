"""Which models a run needs, whether they are at hand and how large; nothing is loaded, and nothing need be here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configs.errors import BadInput, SlipcastError
from .commands import command

if TYPE_CHECKING:
    from .models import ModelStore


@dataclass(frozen=True)
class Needed:
    """One model of a run.

    Attributes:
        role: ``base``, ``domain``, ``lift_model`` ...
        name: as the settings call it.
        identity: what keys say of it; None if it is not at hand.
        size: bytes of the files that are read; where they are not here, about what is to be fetched; None if nobody
            knows.
        fetch: the command that brings it, where one does.
        problem: why it cannot be used, None if it is at hand.
    """

    role: str
    name: str
    licence: str
    identity: dict[str, Any] | None = None
    size: int | None = None
    fetch: str | None = None
    problem: str | None = None


def inventory(store: ModelStore, roles: Sequence[str]) -> list[Needed]:
    """Every model of some roles; a role for which the settings name none is left out."""
    found: list[Needed] = []
    for role in roles:
        try:
            for name, told in store.identities([role]).items():
                size = sum(map(bytes_of, store.places(name)))
                found.append(Needed(name, str(told["id"]), str(told["licence"]), told, size))
        except SlipcastError as error:
            found += _one_by_one(store, role, error)
    return found


def bytes_of(model: Path) -> int:
    """Bytes on the disk of all that loading a model reads."""
    from ...systems.models.weight_files import files_read

    return sum(path.stat().st_size for path in files_read(model))


def _one_by_one(store: ModelStore, role: str, error: SlipcastError) -> list[Needed]:
    """The models of a role of which one at least is not to be had."""
    try:
        networks = store.networks(role)
    except BadInput:  # what a setting names cannot even be read
        networks = {}
    return [_looked_up(*one) for one in networks.items()] if networks else [_absent(store, role, error)]


def _looked_up(role: str, name: str) -> Needed:
    """A network that a stage's setting names."""
    from ...systems.models.aliases import resolve
    from ...systems.models.known import ALIASES

    licence = ALIASES[name].licence if name in ALIASES else "unknown"
    try:
        return Needed(role, name, licence, size=bytes_of(resolve(name)))
    except BadInput as error:
        fetch, size = _to_fetch(name)
        return Needed(role, name, licence, size=size, fetch=fetch, problem=str(error))


def _absent(store: ModelStore, role: str, error: SlipcastError) -> Needed:
    from ...systems.models.known import entry_of

    named: Any = store.named(role) or role
    name = " + ".join(named) if isinstance(named, list) else named
    known = entry_of(role, name)
    fetch, size = _to_fetch(name) if role in ("base", "model", "lift_model") else (None, None)
    licence = "unknown" if known is None else known.licence
    return Needed(role, name, licence, size=size, fetch=fetch, problem=str(error))


def _to_fetch(name: str) -> tuple[str | None, int | None]:
    """The command that brings a model, and about how many bytes; None where the hub has no such name, or it is here."""
    from ...systems.models.aliases import hub_id_of, is_here
    from ...systems.models.costs import bytes_to_fetch

    try:
        missing = bool(hub_id_of(name)) and not is_here(name)
    except BadInput:  # a folder that is not there
        missing = False
    return (command("fetch", name), bytes_to_fetch(name)) if missing else (None, None)
