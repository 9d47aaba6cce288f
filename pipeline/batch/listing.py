"""The runs of a folder: which there are, how far they are, how large, and how two of them differ."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...configs.atomic import explain_os_errors
from ...configs.errors import BadInput
from ..run.manifest import MANIFEST, Manifest, find_run, read_manifest
from ..stages.table import all_stages

STATES = ("finished", "unfinished", "failed")
_THUMBNAILS = ("50-export/preview.png", "10-image/image.png")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True)
class Listed:
    """A run of a folder.

    Attributes:
        state: finished (its last stage is), failed, or unfinished.
        stages: {name: status}.
        changed: when its manifest was last written, in seconds since 1970.
        size: of all its files, in bytes.
        thumbnail: its preview or picture, if there is one.
    """

    path: Path
    prompt: str
    seed: int
    state: str
    stages: dict[str, str]
    changed: float
    size: int
    thumbnail: Path | None

    def told(self) -> dict[str, Any]:
        """For JSON; the age is in seconds."""
        thumbnail = None if self.thumbnail is None else str(self.thumbnail)
        age = round(max(0.0, time.time() - self.changed), 1)
        return asdict(self) | {"path": str(self.path), "thumbnail": thumbnail, "age_s": age}


@dataclass(frozen=True)
class Wanted:
    """Which runs: all that hold true of what is not None."""

    state: str | None = None
    older_than_s: float | None = None
    larger_than: float | None = None

    def fits(self, run: Listed) -> bool:
        """Whether a run is one of those."""
        return (
            (self.state is None or run.state == self.state)
            and (self.older_than_s is None or time.time() - run.changed > self.older_than_s)
            and (self.larger_than is None or run.size > self.larger_than)
        )


def list_runs(out: Path, wanted: Wanted | None = None) -> list[Listed]:
    """The runs below a folder, the one that changed last at the end. What is no run is passed over.

    Raises:
        BadInput: there is no such folder.
    """
    with explain_os_errors(out, "listing the runs", then=""):
        if not out.is_dir():
            raise BadInput(f"there is no folder {out}; give the one that holds the runs")
        found = []
        for manifest in sorted(out.glob(f"*/{MANIFEST}")):
            with contextlib.suppress(BadInput):  # a manifest of something else, or a damaged one
                found.append(_listed(manifest.parent))
    chosen = [run for run in found if wanted is None or wanted.fits(run)]
    return sorted(chosen, key=lambda run: (run.changed, str(run.path)))


def _listed(path: Path) -> Listed:
    told = read_manifest(path)
    stages = {name: line.status for name, line in told.stages.items()}
    thumbnail = next((path / name for name in _THUMBNAILS if (path / name).is_file()), None)
    changed = (path / MANIFEST).stat().st_mtime
    return Listed(path, told.prompt, told.seed, _state(stages), stages, changed, size_of(path), thumbnail)


def _state(stages: Mapping[str, str]) -> str:
    if "failed" in stages.values():
        return "failed"
    ended = bool(stages) and set(stages.values()) == {"finished"}
    return "finished" if ended and all_stages()[-1].name in stages else "unfinished"


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; links are not followed."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # it is being made just now
                total += Path(root, name).lstat().st_size
    return total


def difference(first: Path, second: Path) -> dict[str, Any]:
    """How two runs differ.

    Returns:
        {"runs": their folders, "settings": {dotted name: [first's, second's]} of those that differ, "figures": the
        same of seconds, memory and numbers that stages measured, "pictures": {name: [path or null, path or null]}}.
    Raises:
        BadInput: one of them is no run.
    """
    paths = [find_run(first), find_run(second)]
    manifests = [read_manifest(path) for path in paths]
    settings = [_settings(one) for one in manifests]
    figures = [_figures(one) for one in manifests]
    pictures = {
        name: [str(path / name) if (path / name).is_file() else None for path in paths]
        for name in (*_THUMBNAILS, "50-export/turntable.gif", "10-image/candidates.png")
    }
    return {
        "runs": [str(path) for path in paths],
        "settings": _different(*settings),
        "figures": _different(*figures),
        "pictures": {name: both for name, both in pictures.items() if any(both)},
    }


def _different(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[Any]]:
    names = [*first, *(name for name in second if name not in first)]
    both = {name: [first.get(name), second.get(name)] for name in names}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def _settings(told: Manifest) -> dict[str, Any]:
    return {"prompt": told.prompt, "seed": told.seed} | dict(_flat(told.settled or told.config or {}))


def _figures(told: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, line in told.stages.items():
        for key, value in (("seconds", line.seconds), ("peak_memory_mb", line.peak_memory_mb)):
            if value is not None:
                found[f"{name}.{key}"] = value
        numbers = ((key, value) for key, value in _flat(line.facts or {}) if isinstance(value, int | float))
        found |= {f"{name}.{key}": value for key, value in numbers}
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def as_seconds(text: str) -> float:
    """``90s``, ``30m``, ``12h``, ``7d``, ``2w`` in seconds; ValueError for what is none."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", text)
    if found is None:
        raise ValueError(f"expected an age such as 12h, 7d or 2w, not {text!r}")
    return float(found[1]) * _UNITS[found[2]]
