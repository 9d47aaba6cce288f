"""A configuration of threestudio as its values by dotted names, its ``${...}`` worked out and nothing in it run.

Of OmegaConf's language: references to other keys, also inside of text and of each other, and the functions that
threestudio adds. Whatever reads the environment or is not known stays as it is written, and is an error where it is
needed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ...configs.errors import BadInput
from ...configs.names import shown
from ...configs.yaml_files import parse_yaml

TOP = frozenset({
    "name", "description", "tag", "seed", "use_timestamp", "timestamp", "exp_root_dir", "exp_dir", "trial_name",
    "trial_dir", "n_gpus", "resume", "data_type", "data", "system_type", "system", "trainer", "checkpoint",
})  # fmt: skip
"""The names at the top of such a file."""
MISSING = "???"
_DEEPEST, _MOST_STEPS, _LONGEST, _LARGEST = 30, 10_000, 10_000, 1e18


@dataclass(frozen=True)
class Leaf:
    """A value: worked out, or as it is written with what is wrong with it."""

    value: Any
    problem: str | None = None


def is_experiment(content: Mapping[Any, Any]) -> bool:
    """Whether the content of a YAML file is a configuration of threestudio: it alone has a ``system_type``."""
    return isinstance(content.get("system_type"), str)


def is_theirs(override: str) -> bool:
    """Whether ``key=value`` on the command line is meant for such a file: its first name is one of ``TOP``."""
    return override.partition("=")[0].strip().split(".")[0] in TOP


def leaves(content: Mapping[Any, Any], overrides: Sequence[str] = ()) -> dict[str, Leaf]:
    """Every value of a file by its dotted name, in its order; lists are values.

    Args:
        overrides: ``key=value`` as threestudio's command line takes them.
    Raises:
        BadInput: an override that is no such pair, or that stands below a value.
    """
    tree = _copied(content)
    for one in overrides:
        key, equals, text = one.partition("=")
        if not equals:
            raise BadInput(
                f"expected key=value, such as system.prompt_processor.prompt='a cup', not {shown(one)}"
            )
        _put(tree, key.strip(), _read(text, is_text=key.strip().endswith(("prompt", "_path", "tag", "name"))))
    values = _Values(tree)
    return {key: values.leaf(key, written) for key, written in _written(tree)}


def _copied(value: Any) -> Any:
    return {str(key): _copied(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def _written(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        inside = isinstance(value, dict) and value
        found += _written(value, f"{prefix}{key}.") if inside else [(prefix + key, value)]
    return found


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
        if not isinstance(tree, dict):
            raise BadInput(f"{key} stands below {group}, which is a value and no group")
    tree[last] = value


def _read(text: str, *, is_text: bool = False) -> Any:
    """A value as written on a command line, or as the argument of a function."""
    if is_text:
        return text
    try:
        return parse_yaml(text)
    except (ValueError, yaml.YAMLError):
        return text


class _Unresolved(Exception):
    """A ``${...}`` that cannot be worked out; its sentence goes on after the key's name."""


class _Values:
    """Works out the values of one file, in bounded time."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree, self._steps = tree, 0

    def leaf(self, key: str, written: Any) -> Leaf:
        try:
            return Leaf(self._worked_out(written, key, ()))
        except _Unresolved as why:
            return Leaf(written, str(why))

    def _at(self, key: str) -> Any:
        found: Any = self._tree
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                raise _Unresolved(f"refers to {shown(key)}, which the file does not have")
            found = found[part]
        return found

    def _worked_out(self, value: Any, key: str, inside: tuple[str, ...]) -> Any:
        self._steps += 1
        if self._steps > _MOST_STEPS or len(inside) > _DEEPEST:
            raise _Unresolved("refers to more than can be worked out")
        if isinstance(value, list):
            return [self._worked_out(one, key, inside) for one in value]
        if isinstance(value, dict):
            return {name: self._worked_out(one, key, inside) for name, one in value.items()}
        if not isinstance(value, str) or "${" not in value:
            return value
        pieces = _pieces(value)
        made = [self._asked(text, key, inside) if asked else text for asked, text in pieces]
        if len(made) == 1:
            return made[0]
        text = "".join(map(str, made))
        if len(text) > _LONGEST:
            raise _Unresolved(f"becomes longer than {_LONGEST} characters")
        return text

    def _asked(self, text: str, key: str, inside: tuple[str, ...]) -> Any:
        """What stands between ``${`` and ``}``: a function with its arguments, or the name of another key."""
        function = re.match(r"\s*([A-Za-z_][\w.]*)\s*:", text)
        if function is None:
            name = str(self._worked_out(text.strip(), key, inside))
            if name.startswith("."):
                above = key.split(".")[: -(len(name) - len(name.lstrip(".")))]
                name = ".".join([*above, name.lstrip(".")])
            if name in inside:
                raise _Unresolved(f"refers to {shown(name)}, which refers to it in turn")
            return self._worked_out(self._at(name), name, (*inside, name))
        if function[1] not in _FUNCTIONS:
            raise _Unresolved(f"asks {shown(function[1])}, which is not worked out here")
        given = [
            self._worked_out(one, key, (*inside, "")) if "${" in one else _read(one.strip())
            for one in _arguments(text[function.end() :])
        ]
        try:
            return _FUNCTIONS[function[1]](*given)
        except (TypeError, ValueError, ArithmeticError, AttributeError, IndexError) as error:
            raise _Unresolved(f"cannot work out {function[1]} of {shown(given)}") from error


def _pieces(text: str) -> list[tuple[bool, str]]:
    """A text cut into (False, plain text) and (True, what stands in ``${...}``)."""
    found: list[tuple[bool, str]] = []
    at = 0
    while (begin := text.find("${", at)) >= 0:
        end = _closing(text, begin + 2)
        found += [(False, text[at:begin])] if begin > at else []
        found.append((True, text[begin + 2 : end]))
        at = end + 1
    return found + ([(False, text[at:])] if at < len(text) else [])


def _closing(text: str, at: int) -> int:
    depth = 1
    while at < len(text):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at
        at += 1
    raise _Unresolved("has a ${ that is not closed")


def _arguments(text: str) -> list[str]:
    """Cut at the commas that stand in no braces."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _number(value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        raise ValueError(value)
    return value


def _largest(value: Any) -> float:
    """The largest value that a schedule takes (``C_max``): its numbers without its steps."""
    if not isinstance(value, list):
        return _number(value)
    steps = [0, *value] if len(value) == 3 else value
    if len(steps) < 4 or len(steps) % 2:
        raise ValueError(value)
    return max(_number(one) for one in (steps[1], *steps[2::2]))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "calc_exp_lr_decay_rate": lambda factor, n: float(_number(factor)) ** (1.0 / _number(n)),
    "add": lambda a, b: _number(a) + _number(b),
    "sub": lambda a, b: _number(a) - _number(b),
    "mul": lambda a, b: _number(a) * _number(b),
    "div": lambda a, b: _number(a) / _number(b),
    "idiv": lambda a, b: _number(a) // _number(b),
    "basename": lambda path: posixpath.basename(str(path)),
    "rmspace": lambda text, by: str(text).replace(" ", str(by)[:8]),
    "tuple2": lambda value: [float(_number(value))] * 2,
    "gt0": lambda value: _number(value) > 0,
    "cmaxgt0": lambda value: _largest(value) > 0,
    "not": lambda value: not value,
    "cmaxgt0orcmaxgt0": lambda a, b: _largest(a) > 0 or _largest(b) > 0,
}
"""threestudio's own, by its names for them (threestudio/utils/config.py)."""
