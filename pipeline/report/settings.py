"""A run's settings beside those of `slipcast make` without any, so that a page begins with what is special."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from ...configs.loading import load_config
from ...configs.names import settings_of
from ...configs.schema import MakeConfig


class SettingTold(NamedTuple):
    """A setting by its dotted name: what it is in the run, what it is by default, and the schema's sentence."""

    name: str
    value: Any
    default: Any
    sentence: str
    changed: bool


def settings_told(config: Mapping[str, Any], settled: Mapping[str, Any]) -> list[SettingTold]:
    """Every setting that the run was given, in the schema's order.

    Args:
        config: as asked for, with nulls where base and domain were to say.
        settled: the same with what they said.
    """
    asked, used, defaults = flat(config), flat(settled), standard()
    known = settings_of(MakeConfig)
    names = [name for name in known if name in asked] + [name for name in asked if name not in known]
    return [
        SettingTold(
            name,
            used.get(name, asked[name]),
            defaults.get(name),
            str(known[name].metadata.get("sentence", ""))
            if name in known
            else "of another version of slipcast",
            # What the machine decides, device and dtype, was changed by nobody.
            name not in defaults or defaults[name] not in ("auto", asked[name]),
        )
        for name in names
    ]


@functools.cache
def standard() -> dict[str, Any]:
    """The settings of ``slipcast make`` without any, by dotted name."""
    return flat(json.loads(json.dumps(asdict(load_config()))))


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"image": {"steps": 4}} -> {"image.steps": 4}; a setting that is a table itself stays one."""
    tables = {name.rpartition(".")[0] for name in settings_of(MakeConfig)}
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and prefix + name in tables:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
