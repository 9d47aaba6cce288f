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
        size: bytes of the files that are read; None where they are not here.
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
            found.append(_absent(store, role, error))
    return found


def bytes_of(model: Path) -> int:
    """Bytes on the disk of all that loading a model reads."""
    from ...systems.models.weight_files import files_read

    return sum(path.stat().st_size for path in files_read(model))


def _absent(store: ModelStore, role: str, error: SlipcastError) -> Needed:
    from ...systems.models.aliases import hub_id_of, is_here
    from ...systems.models.known import entry_of

    named: Any = store.named(role) or role
    name = " + ".join(named) if isinstance(named, list) else named
    known = entry_of(role, name)
    fetch = None
    try:
        if role in ("base", "model", "lift_model") and hub_id_of(name) and not is_here(name):
            fetch = command("fetch", name)
    except BadInput:  # no name of the hub's: a folder that is not there
        pass
    return Needed(role, name, "unknown" if known is None else known.licence, fetch=fetch, problem=str(error))
