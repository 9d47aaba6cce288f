"""The form of a training: what was typed, as the words of ``slipcast domain train``, and which field holds an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...configs.errors import BadInput
from ...configs.names import shown, unknown_name
from ...systems.domain.places import TRAINING, checked_name, domains_folder

FIELDS = ("name", "licence", "base", "prompt", "method", "steps", "aspect", "more")
METHODS = ("", "null-text", "lora", "full")
"""Offered ways; the empty one leaves it to the base. ``dog`` needs words of each picture, which an upload has not."""
ASPECTS = ("crop", "pad", "bucket")
LICENCES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "MIT", "own work, all rights reserved", "unknown")
MORE = (
    "accumulate", "batch", "cache", "device", "ema", "evaluate-every", "extractor", "feature-steps", "grounds",
    "held-out", "learning-rate", "minutes", "noise-shift", "optimizer", "precision", "samples", "schedule", "seed",
    "size", "size-budget", "word", "workers",
)  # fmt: skip
"""Further options of the command, a line ``option=value`` each."""


def training_words(typed: Mapping[str, str], pictures: Path) -> tuple[list[str], dict[str, str]]:
    """(words of ``slipcast domain train`` but for the name, {field: sentence}); whatever else is wrong, it says itself.

    Args:
        pictures: the folder to learn from.
    """
    errors: dict[str, str] = {}
    words = [str(pictures), f"--licence={typed['licence']}", f"--base={typed['base'] or 'starter'}"]
    try:
        checked_name(typed["name"])
        place = domains_folder() / typed["name"]
        if place.exists() or place.with_name(place.name + TRAINING).exists():
            raise BadInput(
                f"there is a domain {typed['name']!r} already, and it is never overwritten; choose another"
            )
    except BadInput as error:
        errors["name"] = str(error).removeprefix("--name ")
    if not typed["licence"]:
        errors["licence"] = (
            "under which terms may the pictures be used? Ask who made them, or write 'unknown'"
        )
    if typed["steps"]:
        if not (typed["steps"].isdecimal() and int(typed["steps"]) > 0):
            errors["steps"] = f"steps are a whole number from 1 up, not {shown(typed['steps'])}"
        words.append(f"--steps={typed['steps']}")
    for name, known in (("method", METHODS), ("aspect", ASPECTS)):
        if typed[name] and typed[name] not in known:
            errors[name] = str(unknown_name(name, typed[name], [one for one in known if one]))
        words += [f"--{name}={typed[name]}"] if typed[name] else []
    words += [f"--prompt={typed['prompt']}"] if typed["prompt"] else []
    try:
        words += _more(typed["more"])
    except BadInput as error:
        errors["more"] = str(error)
    return words, errors


def _more(text: str) -> list[str]:
    words = []
    for line in filter(None, (line.strip() for line in text.split("\n"))):
        name, equals, value = line.partition("=")
        name = name.strip().removeprefix("--").replace("_", "-")
        if not equals or not value.strip():
            raise BadInput(f"expected a line such as batch=8, not {shown(line)}")
        if name not in MORE:
            raise unknown_name("option", name, MORE)
        words.append(f"--{name}={value.strip()}")
    return words
