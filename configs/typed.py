"""From plain values, layer over layer, to an instance of a schema: the one loader of all settings.

A schema is a dataclass of ``configs.schema.setting`` fields and further dataclasses. Values are int, float, str, bool,
None, and lists and dicts of these. A whole value ``${image.steps}`` stands for another setting's; nothing else is ever
looked up, so that no text of a config can bring in what lies outside of it (the environment, files).
"""

from __future__ import annotations

import re
import types
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, fields, is_dataclass
from operator import attrgetter
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import BadInput
from .limits import check_fields
from .names import expectation, settings_of, shown, shown_key, unknown_key

Schema = TypeVar("Schema")

_REFERENCE = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")
_LARGEST = 2**63 - 1
_ABSENT = object()


@dataclass(frozen=True)
class _Reference:
    """A value that is another setting's."""

    to: str
    hint: Any
    key: str
    source: str


def build(schema: type[Schema], layers: Iterable[tuple[str, Mapping[Any, Any]]]) -> Schema:
    """An instance of the schema with the values of the layers, each (source, nested mapping); later ones win.

    Keys may be dotted. Lists are replaced as a whole, mappings of free names (weights by name) are merged.

    Raises:
        BadInput: an unknown setting (with the nearest one), a wrong type, a reference to no setting or in a circle, or
            a value outside its limits.
    """
    found: dict[str, Any] = {}
    for source, layer in layers:
        _merge(schema, schema, layer, found, "", source)
    _resolve(found, found, schema)
    config = _instance(schema, found)
    check_fields(config)
    return config


def _merge(
    root: type, schema: type, layer: Mapping[Any, Any], into: dict[str, Any], prefix: str, source: str
) -> None:
    hints, known = get_type_hints(schema), {item.name: item for item in fields(schema)}
    for name, value in layer.items():
        head, _, rest = str(name).partition(".")
        key = f"{prefix}{head}"
        if head not in known or (rest and not is_dataclass(hints[head])):
            raise unknown_key(f"{prefix}{name}", root, source=source)
        hint = hints[head]
        if isinstance(hint, type) and is_dataclass(hint):
            value = {rest: value} if rest else value
            if not isinstance(value, Mapping):
                example = f"{key}.{fields(hint)[0].name}"
                raise BadInput(
                    f"{key} (from {source}) is a group of settings: set one of them, such as {example}"
                )
            _merge(root, hint, value, into.setdefault(head, {}), f"{key}.", source)
        elif get_origin(hint) is dict and isinstance(value, Mapping):
            _merge_free(hint, value, into.setdefault(head, {}), key, source)
        else:
            into[head] = _settled(value, hint, known[head], key, source)


def _merge_free(hint: Any, layer: Mapping[Any, Any], into: dict[str, Any], key: str, source: str) -> None:
    """A mapping whose names the user chooses."""
    inner = get_args(hint)[1]
    for name, value in layer.items():
        name = _as_text(name, f"a name in {key}", source)
        inside = f"{key}.{shown_key(name)}"
        if is_dataclass(inner) and isinstance(inner, type):
            if not isinstance(value, Mapping):
                raise BadInput(
                    f"setting {inside} (from {source}) expects settings of its own, not {shown(value)}"
                )
            _merge(inner, inner, value, into.setdefault(name, {}), f"{inside}.", source)
        else:
            into[name] = _converted(value, inner, inside, source)


def _settled(value: Any, hint: Any, item: Field[Any], key: str, source: str) -> Any:
    if isinstance(value, str) and (reference := _REFERENCE.fullmatch(value)):
        return _Reference(reference[1], hint, key, source)
    value = _converted(value, hint, key, source)
    if value == [] and item.metadata.get("at_least_one"):
        raise BadInput(
            f"setting {key} (from {source}) expects at least one of {', '.join(item.metadata['choices'])}"
        )
    return value


def _converted(value: Any, hint: Any, key: str, source: str, wanted: str = "") -> Any:
    """The value as the type hint wants it; ``wanted`` is what the whole setting takes, in words."""
    wanted = wanted or expectation(hint)
    if get_origin(hint) in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        choices = [one for one in get_args(hint) if one is not type(None)]
        hint = next(
            (one for one in choices if get_origin(one) is list and isinstance(value, list)), choices[0]
        )
    if get_origin(hint) is list:
        if isinstance(value, list):
            return [_converted(entry, get_args(hint)[0], key, source, wanted) for entry in value]
    elif hint is str:
        return _as_text(value, f"setting {key}", source)
    elif hint is bool:
        if isinstance(value, bool):
            return value
    elif (
        hint in (int, float)
        and isinstance(value, int if hint is int else int | float)
        and not isinstance(value, bool)
    ):
        if isinstance(value, float) or abs(value) <= _LARGEST:
            return hint(value)
        raise BadInput(
            f"setting {key} (from {source}) expects a number that fits 64 bits, not {shown(value)}"
        )
    raise BadInput(f"setting {key} (from {source}) expects {wanted}, not {shown(value)}")


def _as_text(value: Any, what: str, source: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadInput(f"{what} (from {source}) expects text, not {shown(value)}")
    text = value if isinstance(value, str) else shown(value)
    if "${" in text:
        raise BadInput(
            f"{what} (from {source}) holds {shown(text)}; a whole value may refer to another setting, such as "
            "${image.steps}, and nothing else is looked up"
        )
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n\r":
            raise BadInput(
                f"{what} (from {source}) holds the character U+{ord(character):04X}, which is not text; take it out"
            )
    return text


def _resolve(part: dict[str, Any], found: Mapping[str, Any], schema: type) -> None:
    """Put in the place of every reference what it refers to."""
    for name, value in part.items():
        if isinstance(value, dict):
            _resolve(value, found, schema)
        elif isinstance(value, _Reference):
            part[name] = _converted(_followed(value, found, schema), value.hint, value.key, value.source)


def _followed(reference: _Reference, found: Mapping[str, Any], schema: type) -> Any:
    seen, to = [reference.key], reference.to
    while True:
        if to not in settings_of(schema):
            raise BadInput(
                f"setting {reference.key} refers to {to}, which does not exist (from {reference.source})"
            )
        if to in seen:
            raise BadInput(
                f"setting {reference.key} refers to itself, by way of {' and '.join(seen[1:]) or to}"
            )
        seen.append(to)
        value: Any = found
        for part in to.split("."):
            value = value.get(part, _ABSENT) if isinstance(value, Mapping) else _ABSENT
        if value is _ABSENT:
            return attrgetter(to)(schema())
        if not isinstance(value, _Reference):
            return value
        to = value.to


def _instance(schema: Any, found: Mapping[str, Any]) -> Any:
    """The dataclass of what was found; fields that were not keep their defaults."""
    hints, values = get_type_hints(schema), dict(found)
    for name, value in found.items():
        hint = hints[name]
        if is_dataclass(hint):
            values[name] = _instance(hint, value)
        elif get_origin(hint) is dict and is_dataclass(inner := get_args(hint)[1]):
            values[name] = {own: _instance(inner, one) for own, one in value.items()}
    return schema(**values)
