"""Figures as people read them."""

from __future__ import annotations

import json
from typing import Any


def duration(seconds: float | None) -> str:
    """0.3 s, 74 s, 12 min 5 s, 2 h 3 min."""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60} s" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"
    )


def size(count: float) -> str:
    """640 B, 13 KB, 2.2 MB, 1.4 GB: powers of 1000, as file managers count."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= 0.9995 * factor:
            return f"{count / factor:.{1 if count < 99.5 * factor and unit != 'KB' else 0}f} {unit}"
    return f"{count:.0f} B"


def memory(megabytes: float | None) -> str:
    """989 MB, 1.2 GB; nothing for what was not measured."""
    return "–" if megabytes is None else size(megabytes * 1e6)


def value(told: Any) -> str:
    """A setting or a fact: 20,000, 0.0252, yes, glb, "front view"."""
    if told is None:
        return "null"
    if isinstance(told, bool):
        return "yes" if told else "no"
    if isinstance(told, int):
        return f"{told:,}" if abs(told) >= 10_000 else str(told)
    if isinstance(told, float):
        return f"{told:.4g}" if abs(told) < 1e4 else f"{told:,.0f}"
    if isinstance(told, str):
        return told or "(empty)"
    if isinstance(told, list):
        return ", ".join(map(value, told)) or "(none)"
    if isinstance(told, dict):
        return ", ".join(f"{name}: {value(one)}" for name, one in told.items()) or "(none)"
    return json.dumps(told)
