"""Settings of ``slipcast image``: a YAML file (``--spec``) and command-line options fill the same typed fields."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from .errors import BadInput
from .names import unknown_name
from .paths import user_path
from .schema import setting


@dataclass
class ExtraCondition:
    """One more condition of a complex prompt: its own words, and possibly its own model and controls."""

    prompt: str = setting("", "What it asks for; empty is the unconditional prompt.")
    weight: float = setting(1.0, "Weight of its term.")
    model: str | None = setting(None, "A LoRA, checkpoint or domain that says it; the base if left out.")
    control: list[str] = setting([], "Spatial controls of this condition alone, such as canny:edges.png.")


@dataclass
class PictureConfig:
    """What ``slipcast image`` draws, and how."""

    prompt: str = setting("", "What to draw; for DiT the name or number of a class.")
    recipe: str = setting("in_domain", "Which guidance: a name of guidance.recipes.RECIPES.")
    base: str = setting("starter", "The frozen prior: an alias, a hub id or a folder in diffusers' layout.")
    domain: str = setting("starter", "The domain: 'starter' or a folder with domain.json.")
    model: str | None = setting(None, "A custom model of the base: LoRA, checkpoint or domain.")
    negative: list[str] = setting([], "Prompts to stay away from.")
    wanted: dict[str, float] = field(default_factory=dict)
    """Further prompts that must hold too, with their weights (recipe composable)."""
    unwanted: dict[str, float] = field(default_factory=dict)
    """Prompts that must not hold, with their weights (recipe composable)."""
    conditions: dict[str, ExtraCondition] = field(default_factory=dict)
    """Further conditions by name (recipe in_domain): prompts, models and controls of their own."""
    weights: dict[str, float] = field(default_factory=dict)
    """Weights of the recipe's terms by name; what is left out keeps the recipe's default."""
    until: dict[str, float] = field(default_factory=dict)
    """Noise fraction up to which a term is on, by name (guidance interval); 1 is always on."""
    balance: float | None = setting(
        None, "Total weight to share between domain and text by the length of their differences."
    )
    control: list[str] = setting([], "Spatial controls, such as canny:edges.png or depth:map.png.")
    control_scale: float = setting(1.0, "Factor on all residuals of the controls.")
    lora_scale: float = setting(1.0, "Strength of a LoRA.")
    edit: str | None = setting(None, "Picture to start from (SDEdit).")
    strength: float = setting(0.6, "How much of the way back to noise an edited picture goes, above 0 to 1.")
    mask: str | None = setting(None, "Picture whose white parts are painted anew, black parts kept.")
    scheduler: str = setting("dpm++", "Sampler: a name of guidance.sampling.SCHEDULERS.")
    steps: int = setting(25, "Denoising steps.")
    seed: int = setting(0, "Seed of the first picture; the next ones count up.")
    count: int = setting(4, "How many pictures.")
    size: int | None = setting(None, "Pixels along each side; the model's own size if left out.")


_LIMITS = {
    "steps": (1, 1000),
    "count": (1, 256),
    "size": (1, 8192),
    "strength": (1e-6, 1.0),
    "seed": (0, 2**63 - 257),
}
_PATHS = ("base", "domain", "model", "edit", "mask")


def picture_config(spec: Path | None, given: Mapping[str, Any]) -> PictureConfig:
    """The settings of a YAML file, if there is one, and over them what was given on the command line.

    Wherever a setting comes from, it passes the same checks.

    Raises: BadInput for an unreadable file, an unknown setting (with the nearest one), a wrong type, a number that
        is out of range or not finite, or a path that no disk can hold.
    """
    merged = OmegaConf.structured(PictureConfig)
    for source, layer in ((str(spec), _read(spec) if spec else {}), ("the command line", dict(given))):
        for key, value in _leaves(layer):
            # OmegaConf would fill it in, from the environment too, and pictures remember their settings.
            if isinstance(value, str) and "${" in value:
                raise BadInput(
                    f"{key} in {source} holds ${{...}}, which is not filled in here; write the value"
                )
        _check_containers(layer, PictureConfig(), source)
        try:
            merged = OmegaConf.merge(merged, OmegaConf.create(layer))
            OmegaConf.to_object(merged)
        except ConfigKeyError as error:
            key = str(error.full_key or error.key)
            known = [item.name for item in fields(ExtraCondition if "." in key else PictureConfig)]
            raise BadInput(
                f"{unknown_name('setting', key.rpartition('.')[2], known)} (in {source})"
            ) from error
        except OmegaConfBaseException as error:
            key = str(error.full_key or error.key)
            raise BadInput(
                f"the setting {key} in {source} has an unusable value: {_first_line(error)}"
            ) from error
    config = cast(PictureConfig, OmegaConf.to_object(merged))
    _check_numbers(config)
    _check_paths(config)
    return config


def _check_containers(layer: Mapping[Any, Any], known: Any, source: str, prefix: str = "") -> None:
    """Lists and mappings where they belong and nowhere else: OmegaConf lets nested ones pass, or breaks on them."""
    for key, value in layer.items():
        expected = getattr(known, str(key), None)
        if not isinstance(expected, dict | list):
            continue
        fits = isinstance(value, type(expected))
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if key == "conditions" and isinstance(value, dict):
            for name, one in value.items():
                _check_containers(
                    one if isinstance(one, dict) else {}, ExtraCondition(), source, f"{key}.{name}."
                )
        elif not fits or any(isinstance(one, dict | list) for one in inner):
            kind = "a list of texts" if isinstance(expected, list) else "'name: value' lines"
            raise BadInput(f"{prefix}{key} in {source} expects {kind}, not {str(value)[:80]}")


def _check_numbers(config: PictureConfig) -> None:
    for name, (low, high) in _LIMITS.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            raise BadInput(f"{name} lies between {low:g} and {high:g}, not {value}")
    for name, value in config.until.items():
        if not 0 <= value <= 1:
            raise BadInput(f"until {name} lies between 0 and 1, not {value}")
    for key, value in _leaves(asdict(config)):
        if isinstance(value, float) and not math.isfinite(value):
            raise BadInput(f"{key} must be a finite number, not {value}")


def _check_paths(config: PictureConfig) -> None:
    """Every path is checked, and ``~`` is filled in."""
    for owner in (config, *config.conditions.values()):
        for name in _PATHS:
            value = getattr(owner, name, None)
            if isinstance(value, str):
                setattr(owner, name, _path(value, f"--{name}"))
    for _, texts in _controls(config):
        for i, text in enumerate(texts):
            kind, *places = text.split(":")
            texts[i] = ":".join([kind, *(_path(place, "--control") for place in places)])


def _controls(config: PictureConfig) -> list[tuple[str, list[str]]]:
    """(name of the setting, its controls) of the picture and of each condition."""
    further = [(f"conditions.{name}.control", one.control) for name, one in config.conditions.items()]
    return [("control", config.control), *further]


def _path(text: str, option: str) -> str:
    path = user_path(text, option)
    return str(path) if text.startswith("~") else text  # a hub id, an alias, or a path as it was written


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of everything in nested mappings and lists, names of keys among them."""
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    )
    if items is None:
        yield key, value
        return
    for name, inner in items:
        dotted = f"{key}.{name}" if key else str(name)
        yield dotted, name
        yield from _leaves(inner, dotted)


def _read(path: Path) -> dict[Any, Any]:
    if not path.is_file():
        raise BadInput(f"there is no file {path}; --spec expects a YAML file")
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except Exception as error:  # YAML's and OmegaConf's own kinds, and files that are no text
        raise BadInput(f"{path} is not a readable YAML file: {_first_line(error)}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} should hold 'setting: value' lines, not a {type(content).__name__}")
    return content


def parse_weights(pairs: list[str], option: str) -> dict[str, float]:
    """``name=number`` pairs of the command line.

    Raises: BadInput when one is not such a pair, or the number is not finite.
    """
    found: dict[str, float] = {}
    for pair in pairs:
        name, equals, text = pair.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not equals or not name or not abs(value) < float("inf"):
            raise BadInput(f"{option} expects name=number, such as domain=3.5, not {pair!r}")
        found[name] = value
    return found


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
