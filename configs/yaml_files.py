"""YAML that holds settings: plain values only, read in bounded time and memory whatever the text is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from .errors import BadInput

_MOST_BYTES = 100_000
_MOST_NODES = 10_000
_DEEPEST = 50
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")}


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping that a YAML file holds.

    Raises:
        BadInput: the file cannot be read, is no YAML, too large (100 kB; 10,000 values when its anchors are written
            out; 50 levels), names a key twice, has a tag for something else than plain values, or is no mapping.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        value = parse_yaml(content.decode("utf-8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, yaml.YAMLError) as error:  # UnicodeDecodeError is a ValueError too
        raise BadInput(f"{path} is not a readable YAML file: {first_line(error)}") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path} should hold 'setting: value' lines, not a {type(value).__name__}")
    return value


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, of dicts, lists, str, int, float, bool and None.

    Raises:
        ValueError, yaml.YAMLError: it cannot be read, for the reasons of ``read_yaml``.
    """
    if len(text) > _MOST_BYTES:
        raise ValueError(f"it is larger than the {_MOST_BYTES // 1000} kB that settings may take")
    _check_size(text)
    return yaml.load(text, _Loader)


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _check_size(text: str) -> None:
    """Walk the events, made one by one, before anything is built; an alias counts as all that it stands for."""
    count, open_at, anchors = 0, [], {}
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, began = open_at.pop()
            anchors[anchor] = count - began
        elif isinstance(event, yaml.AliasEvent):
            count += anchors.get(
                event.anchor, 1
            )  # an alias inside of its own anchor is refused when it is built
        elif isinstance(event, yaml.NodeEvent):
            _check_tag(event)
            count += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_at.append((event.anchor, count))
            else:
                anchors[event.anchor] = 1
        if len(open_at) > _DEEPEST:
            raise ValueError(f"it is nested deeper than {_DEEPEST} levels")
        if count > _MOST_NODES:
            raise ValueError(f"it holds more than {_MOST_NODES} values, anchors written out")


def _check_tag(event: Any) -> None:
    if event.tag not in (None, "!") and event.tag not in _PLAIN_TAGS:
        raise ValueError(f"it holds the tag {event.tag[:80]!r}; settings are plain values")


class _Loader(yaml.SafeLoader):
    """PyYAML's, with ``1e-3`` a number, dates and ``=`` mere text, and a key given twice an error."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML looks it up on the class
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key, times in Counter(keys).items() if times > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"the key {twice[1][:80]!r} is there twice")
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)
