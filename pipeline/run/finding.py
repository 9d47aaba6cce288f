"""Where the model lies that a setting names."""

from __future__ import annotations

from pathlib import Path

from ...configs.errors import BadInput
from ...configs.paths import given_path

_MARKERS = {"base": "model_index.json", "domain": "domain.json", "lift_model": "config.json"}


def find_model(role: str, wanted: str, *, allow_pickle: bool = False) -> Path:
    """Folder or file of one that ships with the package, of an alias, of a domain by its name, or of a path.

    Raises:
        BadInput: nothing of the kind is there.
    """
    from ...systems.models.aliases import resolve
    from ...systems.models.known import SHIPPED, WEIGHTS

    shipped = SHIPPED.get(role, {}).get(wanted)
    if shipped is not None:
        folder, wrong = WEIGHTS / shipped.folder, "its models are not installed"
    elif role in ("base", "vae", "model"):
        found = resolve(wanted, allow_pickle=allow_pickle)
        if role == "base" and found.is_file():
            _refuse_other_files(found)
        return found
    else:
        folder, wrong = given_path(wanted, role), f"{wanted!r} is no model folder"
    if role == "domain" and shipped is None:
        from ...systems.domain.places import card_path, domains_folder

        if not card_path(folder).is_file() and folder.name == wanted:
            folder = domains_folder() / wanted
        if card_path(folder).is_file():
            return folder
    if not given_path(folder / _MARKERS[role], role).is_file():
        names = " or ".join(map(repr, SHIPPED[role])) + (" or a name in domains" if role == "domain" else "")
        raise BadInput(f"{role} expects {names} or a folder with {_MARKERS[role]}; {wrong} ({folder})")
    return folder


def _refuse_other_files(file: Path) -> None:
    """By the names of what is in it alone, so that another kind of file than a checkpoint is told at once."""
    from ...systems.models.single_file.checkpoint import recognised
    from ...systems.models.single_file.header import read_header

    recognised(read_header(file))
