"""A whole file of threestudio, key by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from .experiment import MISSING, Leaf, leaves
from .keys import rule_for, why_not
from .mapping import NONE, REFUSED, TAKEN, Line, Mapped


def mapped(path: Path, content: Mapping[Any, Any], overrides: Sequence[str] = ()) -> Mapped:
    """Every key of a file of threestudio, led to ours.

    Args:
        overrides: ``key=value`` as threestudio's command line takes them.
    Raises:
        BadInput: a key that is needed cannot be worked out, or has a value that it cannot have.
    """
    read = Mapped(path, leaves(content, overrides))
    read.lines += [_line(read, key, leaf) for key, leaf in read.leaves.items()]
    return read


def _line(read: Mapped, key: str, leaf: Leaf) -> Line:
    rule = rule_for(key)
    if rule is None:
        return Line(key, leaf.value, NONE, why_not(key))
    if leaf.value is None:
        return Line(key, None, TAKEN, "nothing")
    if leaf.problem:
        raise BadInput(f"{key} in {read.path} {leaf.problem}; write out what it is to be")
    if leaf.value == MISSING:
        return Line(key, MISSING, REFUSED, f"it has to be given, {key}=...")
    return Line(key, leaf.value, *rule(read, key, leaf.value))
