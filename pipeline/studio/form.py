"""The form of an asset: what was typed, what it says as a job, and which field holds an error.

Every field is checked by what reads job files and configurations, so a form takes what they take, and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ...configs.errors import BadInput
from ...configs.loading import built, parse_override, preset_layers, preset_names
from ...configs.names import shown
from ...configs.yaml_files import first_line, parse_yaml
from ..run.prompts import check_prompt

FIELDS = (
    "prompt", "seed", "preset", "base", "domain", "loras", "strength", "negative", "text_weight", "domain_weight",
    "candidates", "picture", "more",
)  # fmt: skip
"""Names of the fields, as the page and its address have them."""
_SETTINGS = {
    "base": "base",
    "domain": "domain",
    "strength": "domain_strength",
    "text_weight": "image.text_weight",
    "domain_weight": "image.domain_weight",
    "candidates": "image.candidates",
}
"""{field: the setting that it is, where it is one}; an empty field leaves the setting to the preset."""
_LISTS = {"loras": "loras", "negative": "image.negative"}
"""Fields with an entry a line."""


@dataclass(frozen=True)
class Filled:
    """A form as it was filled in.

    Attributes:
        typed: {field: text}.
        values: the job that it asks for, as a line of a JSONL job file says it.
        errors: {field: sentence}; "" is the form as a whole.
    """

    typed: Mapping[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def filled(typed: Mapping[str, str], uploads: Path, *, candidates_first: bool) -> Filled:
    """What a form asks for.

    Args:
        typed: {field: text}; ``picture`` is the name of a file in ``uploads``, or empty.
        candidates_first: draw the pictures alone, to pick from.
    """
    reading = _Reading({name: typed.get(name, "") for name in FIELDS})
    values: dict[str, Any] = {"config": reading.preset()}
    prompt = reading.each(
        "prompt", lambda text: check_prompt(text) if text or not typed.get("picture") else ""
    )
    if prompt:
        values["prompt"] = prompt
    values["seed"] = reading.each("seed", _seed)
    overrides: dict[str, Any] = {}
    for name, setting in _SETTINGS.items():
        overrides |= reading.each(name, lambda text, s=setting: _setting(s, text)) or {}
    for name, setting in _LISTS.items():
        lines = [line.strip() for line in reading.typed[name].split("\n") if line.strip()]
        overrides |= {setting: lines} if lines else {}
    overrides |= reading.each("more", more_settings) or {}
    reading.check(values["config"], overrides)
    if overrides:
        values["overrides"] = overrides
    if reading.typed["picture"]:
        values["picture"] = f"{uploads.name}/{reading.typed['picture']}"
    elif candidates_first:
        values["until"] = "image"
    return Filled(reading.typed, values, reading.errors)


class _Reading:
    """A form as it is read: errors are noted by field, and the rest goes on."""

    def __init__(self, typed: dict[str, str]) -> None:
        self.typed = typed
        self.errors: dict[str, str] = {}

    def each(self, name: str, read: Callable[[str], Any]) -> Any:
        """What a field says; None where it holds an error."""
        try:
            return read(self.typed[name])
        except BadInput as error:
            self.errors[name] = str(error)
            return None

    def preset(self) -> str:
        name = self.typed["preset"] or "starter"
        if name not in preset_names():
            self.errors["preset"] = (
                f"there is no preset {shown(name)}; the presets are {', '.join(preset_names())}"
            )
            return "starter"
        return name

    def check(self, preset: str, overrides: Mapping[str, Any]) -> None:
        """Each setting by itself, so that its error is told beside its field; then all of them together."""
        layers = preset_layers(preset)
        of = {setting: name for name, setting in (_SETTINGS | _LISTS).items() if self.typed[name]}
        for setting, value in overrides.items():
            name = of.get(setting, "more")
            if name not in self.errors:
                self.each(name, lambda text, s=setting, v=value: built([*layers, ("the form", {s: v})]))
        if not self.errors:
            try:
                built([*layers, ("the form", overrides)])
            except BadInput as error:
                self.errors[""] = str(error)


def more_settings(text: str) -> dict[str, Any]:
    """Settings as YAML, nested or dotted, or as ``key=value`` a line; {} for an empty text.

    Raises:
        BadInput: neither.
    """
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        return {}
    if all("=" in line.partition(":")[0] for line in lines):
        found: dict[str, Any] = {}
        for line in lines:
            found |= parse_override(line)
        return found
    try:
        content = parse_yaml(text)
    except (ValueError, yaml.YAMLError) as error:
        raise BadInput(f"the settings cannot be read as YAML ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise BadInput(
            f"expected settings such as refine.steps=200 or refine: {{steps: 200}}, not {shown(content)}"
        )
    return dict(_dotted({str(key): value for key, value in content.items()}))


def _dotted(content: Mapping[str, Any]) -> dict[str, Any]:
    """Groups of settings with dotted names, so that one and the same is not said in two ways."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict) and name in ("image", "lift", "refine", "mesh", "paint", "export"):
            found |= {f"{name}.{key}": one for key, one in value.items()}
        else:
            found[name] = value
    return found


def _seed(text: str) -> int:
    if text and not (text.isdecimal() and int(text) < 2**63):
        raise BadInput(f"the seed expects a whole number from 0 on, not {shown(text)}")
    return int(text or 0)


def _setting(name: str, text: str) -> dict[str, Any]:
    return parse_override(f"{name}={text}") if text else {}


def typed_of(values: Mapping[str, Any]) -> dict[str, str]:
    """The form that asks for a job: what ``filled`` makes of it is that job again.

    Args:
        values: a line of the job file.
    """
    overrides = dict(values.get("overrides", {}))
    typed = {
        "prompt": values.get("prompt", ""),
        "seed": str(values.get("seed", 0)),
        "preset": values.get("config", ""),
    }
    for name, setting in _SETTINGS.items():
        if setting in overrides:
            value = overrides.pop(setting)
            typed[name] = "null" if value is None else str(value)
    for name, setting in _LISTS.items():
        typed[name] = "\n".join(map(str, overrides.pop(setting, [])))
    overrides.pop("image.pick", None)
    picture = values.get("picture", "")
    typed["picture"] = Path(picture).name if picture else ""
    typed["more"] = yaml.safe_dump(overrides, sort_keys=False, allow_unicode=True) if overrides else ""
    return {name: typed.get(name, "") for name in FIELDS}
