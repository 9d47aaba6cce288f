"""A setting: a field of a dataclass that knows its sentence and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any


def setting(
    default: Any,
    sentence: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: Sequence[str] | None = None,
    offers: str | None = None,
    at_least_one: bool = False,
    affects_result: bool = True,
    added_later: bool = False,
    files: bool = False,
) -> Any:
    """A dataclass field with its sentence and its limits.

    ``offers`` names a kind of plug-in (``configs.plugins``) whose names are choices too. ``at_least_one`` forbids an
    empty list of choices. ``affects_result=False`` marks book-keeping that leaves what a stage makes unchanged, such as
    how often it saves: changing it never re-runs a finished stage. ``added_later`` keeps a setting out of a stage's key
    while it has its default, so that runs of the versions before it stay finished. ``files`` marks paths of pictures,
    plain or as in ``control``: their content counts in the key, wherever it lies.
    """
    metadata = {
        "sentence": sentence,
        "at_least": at_least,
        "at_most": at_most,
        "choices": None if choices is None else tuple(choices),
        "offers": offers,
        "at_least_one": at_least_one,
        "affects_result": affects_result,
        "added_later": added_later,
        "files": files,
    }
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)
