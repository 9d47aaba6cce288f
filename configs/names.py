"""The dotted names of all settings, derived from ``configs.schema``, and the sentences about names that are none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import Field, fields, is_dataclass
from typing import Any, get_type_hints

from .errors import BadInput
from .schema import MakeConfig

_WORDS = {
    int: "a whole number",
    float: "a number",
    float | None: "a number or null",
    str: "text",
    bool: "true or false",
    list[str]: "a list such as [glb]",
    list[float]: "a list of numbers such as [0.5, 0.25]",
}


def _collect(schema: type, prefix: str = "") -> tuple[dict[str, Any], dict[str, str], dict[str, Field[Any]]]:
    """(type of each setting, first setting of each group, dataclass field of each setting), by dotted name."""
    types: dict[str, Any] = {}
    groups: dict[str, str] = {}
    found: dict[str, Field[Any]] = {}
    hints = get_type_hints(schema)
    for item in fields(schema):
        key, hint = prefix + item.name, hints[item.name]
        if is_dataclass(hint) and isinstance(hint, type):
            inner_types, inner_groups, inner_fields = _collect(hint, f"{key}.")
            groups |= {key: next(iter(inner_types)), **inner_groups}
            types |= inner_types
            found |= inner_fields
        else:
            types[key] = hint
            found[key] = item
    return types, groups, found


TYPES, GROUPS, FIELDS = _collect(MakeConfig)


def expectation(key: str) -> str:
    """What a setting takes, in words: ``a whole number``, ``a number`` ..."""
    return _WORDS.get(TYPES[key], str(TYPES[key]))


def unknown_key(key: str, *, source: str) -> BadInput:
    """The error for a name that is no setting, with the nearest one that is."""
    known = [*TYPES, *GROUPS]
    # A full dotted name first; then the last part alone, for `steps` written without its group.
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if not near:
        last = key.rpartition(".")[2]
        by_last = {name.rpartition(".")[2]: name for name in reversed(known)}
        near = [by_last[match] for match in difflib.get_close_matches(last, list(by_last), n=1, cutoff=0.6)]
    if not near:
        groups = ", ".join(GROUPS)
        return BadInput(f"there is no setting {key} (from {source}); settings are in the groups {groups}")
    return BadInput(f"there is no setting {key} (from {source}); did you mean {near[0]}?")


def unknown_name(what: str, given: str, known: Iterable[str]) -> BadInput:
    """The error for a name out of a short list: ``there is no scheduler 'dmp++'; did you mean dpm++?``"""
    known = list(known)
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    if near:
        return BadInput(f"there is no {what} {given!r}; did you mean {near[0]}?")
    return BadInput(f"there is no {what} {given!r}; known are {', '.join(known) or 'none'}")
