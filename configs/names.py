"""The dotted names of a schema's settings, and the sentences about names that are none."""

from __future__ import annotations

import difflib
import functools
import types
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from .errors import BadInput
from .over_steps import Number

_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list[str]: "a list such as [glb]",
    list[float]: "a list of numbers such as [0.5, 0.25]",
    Number: "a number or a schedule such as [start, v0, v1, end]",
    dict[str, float]: "a number for each name, such as {domain: 3.5}",
    dict[str, list[float]]: "a schedule for each name, such as {text: [0, 1, 7.5, 100]}",
    dict[str, list[str]]: "a list for each name, such as {text: [front, side]}",
}
_LONGEST_SHOWN = 80


class Setting(NamedTuple):
    """What is known of one setting: its type, and the metadata of ``configs.schema.setting``."""

    hint: Any
    metadata: Mapping[str, Any]


@functools.cache
def settings_of(schema: type, prefix: str = "") -> dict[str, Setting]:
    """Every setting of a schema by dotted name."""
    hints = get_type_hints(schema)
    found: dict[str, Setting] = {}
    for item in fields(schema):
        key, hint = prefix + item.name, hints[item.name]
        if isinstance(hint, type) and is_dataclass(hint):
            found |= settings_of(hint, f"{key}.")
        else:
            found[key] = Setting(hint, item.metadata)
    return found


def expectation(hint: Any) -> str:
    """What a setting of this type takes, in words: ``a whole number``, ``a number or null`` ..."""
    if hint not in _WORDS and get_origin(hint) in (Union, types.UnionType):
        return " or ".join("null" if one is type(None) else expectation(one) for one in get_args(hint))
    return _WORDS.get(hint, "settings of its own")


def shown(value: Any) -> str:
    """A value as a person would write it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes out no integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 20]}...{text[-17:]}"


def shown_key(key: str) -> str:
    """A name as it stands, or as ``shown`` where it is long or cannot be printed."""
    return key if len(key) <= _LONGEST_SHOWN and key.isprintable() else shown(key)


def unknown_key(key: str, schema: type, *, source: str) -> BadInput:
    """The error for a name that is no setting of a schema, with the nearest one that is."""
    settings = list(settings_of(schema))
    groups = list(dict.fromkeys(name.rpartition(".")[0] for name in settings if "." in name))
    known = [*settings, *groups]
    said = shown_key(key)
    # A full dotted name first; then the last part alone, for `steps` written without its group.
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if not near:
        last = key.rpartition(".")[2]
        by_last = {name.rpartition(".")[2]: name for name in reversed(known)}
        near = [by_last[match] for match in difflib.get_close_matches(last, list(by_last), n=1, cutoff=0.6)]
    if near:
        return BadInput(f"there is no setting {said} (from {source}); did you mean {near[0]}?")
    where = f"settings are in the groups {', '.join(groups)}" if groups else f"known are {', '.join(known)}"
    return BadInput(f"there is no setting {said} (from {source}); {where}")


def unknown_name(what: str, given: str, known: Iterable[str]) -> BadInput:
    """The error for a name out of a short list: ``there is no scheduler 'dmp++'; did you mean dpm++?``"""
    known = list(known)
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    if near:
        return BadInput(f"there is no {what} {given!r}; did you mean {near[0]}?")
    return BadInput(f"there is no {what} {given!r}; known are {', '.join(known) or 'none'}")
