"""From a preset's name and ``key=value`` overrides to one checked ``MakeConfig``.

Order, later wins: the defaults of ``configs.schema``, the presets named by ``extends:`` (oldest first), the preset
itself, the overrides. Whatever cannot be used raises ``BadInput`` with the dotted name of the setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .errors import BadInput
from .limits import check_limits
from .names import settings_of, shown
from .paths import given_path, shortened
from .schema import MakeConfig
from .typed import build
from .yaml_files import first_line, parse_yaml, read_yaml

PRESETS = Path(__file__).parent / "presets"
Layer = tuple[str, Mapping[Any, Any]]
"""Where settings are from, for sentences, and the settings, nested or with dotted names."""
_LONGEST_CHAIN = 20  # files that extend one another


def preset_names() -> list[str]:
    """Names of the presets that ship with the package, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_config(
    name_or_path: str = "starter",
    overrides: Sequence[str] = (),
    layers: Sequence[tuple[str, Mapping[Any, Any]]] = (),
) -> MakeConfig:
    """Read a preset (by name) or a YAML file (by path), then apply overrides such as ``refine.steps=100``.

    Args:
        layers: (where they are from, settings) that lie between the two.
    Raises:
        BadInput: no such preset, unreadable YAML, an unknown setting, a wrong type, or a value outside its limits.
    """
    return built([*preset_layers(name_or_path), *layers], overrides)


def preset_layers(name_or_path: str, *, beside: Path | None = None) -> list[Layer]:
    """What a preset (by name) or a YAML file (by path, relative to ``beside``) says, with all that it extends.

    Raises:
        BadInput: no such preset, or unreadable YAML.
    """
    return _chain(_find(name_or_path, beside=beside))


def restore_config(
    settings: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    source: str,
    layers: Sequence[tuple[str, Mapping[Any, Any]]] = (),
) -> MakeConfig:
    """Settings as a run wrote them down (``asdict`` of a ``MakeConfig``), with overrides on top.

    Raises:
        BadInput: as for ``load_config``; ``source`` says where the settings are from.
    """
    return built([(source, settings), *layers], overrides)


def built(layers: Sequence[Layer], overrides: Sequence[str] = ()) -> MakeConfig:
    """One checked ``MakeConfig`` of layers, later ones winning, and overrides on top of them.

    Raises:
        BadInput: an unknown setting, a wrong type, or a value outside its limits.
    """
    config = build(MakeConfig, [*layers, *(("the command line", parse_override(one)) for one in overrides)])
    check_limits(config)
    return config


def _find(name_or_path: str, *, beside: Path | None = None) -> Path:
    """The YAML file meant by a preset's name or a path; a path in ``extends:`` is looked up beside its own file."""
    looks_like_path = name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path or "\\" in name_or_path
    path = given_path(name_or_path) if looks_like_path else PRESETS / f"{name_or_path}.yaml"
    path = given_path((beside or Path()) / path)
    if path.is_file():
        return path
    if looks_like_path:
        raise BadInput(f"there is no configuration file {path}")
    raise BadInput(
        f"there is no preset {shortened(name_or_path)}; the presets are {', '.join(preset_names())}; "
        "a file of your own is given by a path that ends in .yaml"
    )


def _chain(path: Path) -> list[Layer]:
    """(path, content) of the file and of everything that it extends, oldest first."""
    chain: list[Layer] = []
    seen: set[Path] = set()
    while True:
        content = read_yaml(path)
        parent = content.pop("extends", None)
        chain.append((str(path), content))
        seen.add(path.resolve())
        if not parent:
            return chain[::-1]
        if not isinstance(parent, str):
            raise BadInput(f"extends: in {path} expects the name of one preset, not {shown(parent)}")
        found = _find(parent, beside=path.parent)
        if found.resolve() in seen:
            raise BadInput(f"{path} extends {found}, which extends it in turn; take one of the two lines out")
        if len(chain) == _LONGEST_CHAIN:
            raise BadInput(
                f"{chain[0][0]} extends a chain of more than {_LONGEST_CHAIN} files; put them together"
            )
        path = found


def parse_override(override: str) -> dict[str, Any]:
    """``refine.steps=100`` -> {"refine.steps": 100}; BadInput for what is no such pair."""
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise BadInput(
            f"expected key=value, such as refine.steps=100, not {shown(override)} "
            "(a prompt of several words needs quotes)"
        )
    setting = settings_of(MakeConfig).get(key)
    if setting is not None and (setting.hint is str or (setting.hint == str | None and text != "null")):
        return {key: text}  # taken as it stands, so that colons, brackets and an empty text need no quoting
    try:
        return {key: parse_yaml(text)}
    except (ValueError, yaml.YAMLError) as error:
        raise BadInput(f"the value of {shown(key)[1:-1]} cannot be read: {first_line(error)}") from error
