"""From a preset's name and ``key=value`` overrides to one checked ``MakeConfig``.

Order, later wins: the defaults of ``configs.schema``, the presets named by ``extends:`` (oldest first), the preset
itself, the overrides. Whatever cannot be used raises ``BadInput`` with the dotted name of the setting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .errors import BadInput
from .limits import check_limits
from .names import GROUPS, TYPES, expectation, unknown_key
from .schema import MakeConfig

PRESETS = Path(__file__).parent / "presets"


def preset_names() -> list[str]:
    """Names of the presets that ship with the package, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_config(name_or_path: str = "starter", overrides: Sequence[str] = ()) -> MakeConfig:
    """Read a preset (by name) or a YAML file (by path), then apply overrides such as ``refine.steps=100``.

    Raises:
        BadInput: no such preset, unreadable YAML, an unknown setting, a wrong type, or a value outside its limits.
    """
    config = OmegaConf.structured(MakeConfig)
    for path in _chain(_find(name_or_path)):
        for key, value in _flatten(_read(path), source=str(path)):
            config = _set(config, key, value, source=str(path))
    return _finished(config, overrides)


def restore_config(settings: Mapping[str, Any], overrides: Sequence[str] = (), *, source: str) -> MakeConfig:
    """Settings as a run wrote them down (``asdict`` of a ``MakeConfig``), with overrides on top.

    Raises:
        BadInput: as for ``load_config``; ``source`` says where the settings are from.
    """
    config = OmegaConf.structured(MakeConfig)
    for key, value in _flatten(settings, source=source):
        config = _set(config, key, value, source=source)
    return _finished(config, overrides)


def _finished(config: DictConfig, overrides: Sequence[str]) -> MakeConfig:
    for override in overrides:
        key, value = _parse_override(override)
        config = _set(config, key, value, source="the command line")
    try:
        result = cast(MakeConfig, OmegaConf.to_object(config))
    except OmegaConfBaseException as error:
        raise BadInput(
            f"a setting refers to another one that does not exist: {_first_line(error)}"
        ) from error
    check_limits(result)
    return result


def _find(name_or_path: str, *, beside: Path | None = None) -> Path:
    """The YAML file meant by a preset's name or a path; a path in ``extends:`` is looked up beside its own file."""
    looks_like_path = name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path or "\\" in name_or_path
    path = (beside or Path()) / name_or_path if looks_like_path else PRESETS / f"{name_or_path}.yaml"
    if path.is_file():
        return path
    if looks_like_path:
        raise BadInput(f"there is no configuration file {path}")
    raise BadInput(
        f"there is no preset {name_or_path!r}; the presets are {', '.join(preset_names())}; "
        "a file of your own is given by a path that ends in .yaml"
    )


def _chain(path: Path) -> list[Path]:
    """The file and everything that it extends, oldest first."""
    chain = [path]
    while parent := _read(chain[-1]).get("extends"):
        if not isinstance(parent, str):
            raise BadInput(f"extends: in {chain[-1]} expects the name of one preset, not {parent!r}")
        found = _find(parent, beside=chain[-1].parent)
        if found.resolve() in {link.resolve() for link in chain}:
            raise BadInput(
                f"{chain[-1]} extends {found}, which extends it in turn; take one of the two lines out"
            )
        chain.append(found)
    return chain[::-1]


def _read(path: Path) -> dict[str, Any]:
    try:
        # OmegaConf's own reader, unlike plain YAML, takes 1e-3 for a number.
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise BadInput(f"{path} is not a readable YAML file: {_first_line(error)}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} should hold 'setting: value' lines, not a {type(content).__name__}")
    return cast(dict[str, Any], content)


def _flatten(mapping: Mapping[Any, Any], *, source: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested groups -> (dotted key, value); ``extends`` is taken out."""
    for name, value in mapping.items():
        key = f"{prefix}{name}"
        if key == "extends":
            continue
        if isinstance(value, Mapping) and (key in GROUPS or key not in TYPES):
            if key not in GROUPS:
                raise unknown_key(key, source=source)
            yield from _flatten(value, source=source, prefix=f"{key}.")
        else:
            yield key, value


def _parse_override(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise BadInput(
            f"expected key=value, such as refine.steps=100, not {override!r} (a prompt of several words needs quotes)"
        )
    if TYPES.get(key) is str:
        return key, text  # taken as it stands, so that colons, brackets and an empty text need no quoting
    try:
        return key, OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)["value"]  # type: ignore[index]
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise BadInput(f"the value of {key} cannot be read: {_first_line(error)}") from error


def _set(config: DictConfig, key: str, value: Any, *, source: str) -> DictConfig:
    if key in GROUPS:
        raise BadInput(
            f"{key} (from {source}) is a group of settings: set one of them, such as {GROUPS[key]}"
        )
    if key not in TYPES:
        raise unknown_key(key, source=source)
    nested = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    try:
        return cast(DictConfig, OmegaConf.merge(config, nested))
    except OmegaConfBaseException as error:
        raise BadInput(f"setting {key} (from {source}) expects {expectation(key)}, not {value!r}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
