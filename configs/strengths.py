"""``FILE:strength``, as LoRAs are given: a path that may hold colons of its own, and a number behind the last one."""

from __future__ import annotations

import math
import re
from pathlib import Path

from .errors import BadInput
from .paths import given_path

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


def path_and_strength(text: str, option: str) -> tuple[str, float]:
    """``style.safetensors:0.8`` -> ("style.safetensors", 0.8); 1.0 where no number is given.

    What is there under the whole text is that file: ``C:\\loras\\a.safetensors`` and a folder ``version:2`` are paths.

    Raises: BadInput for an empty path, or a number that is not finite.
    """
    path, colon, number = text.rpartition(":")
    if not colon or not _NUMBER.fullmatch(number.strip()) or given_path(text, option).exists():
        path, number = text, "1"
    strength = float(number)
    if not path.strip() or not math.isfinite(strength):
        raise BadInput(f"{option} expects FILE or FILE:strength, such as style.safetensors:0.8, not {text!r}")
    return path, strength


def with_home(text: str, option: str) -> str:
    """The same text with ``~`` filled in, and its path checked."""
    path, strength = path_and_strength(text, option)
    place = given_path(path, option)
    if not path.startswith("~"):
        return text
    return str(place) if Path(path) == Path(text) else f"{place}:{strength!r}"
