"""What the rest of this room reads of a run's manifest, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..run.manifest import read_manifest


@dataclass(frozen=True)
class RunLine:
    """A run as its manifest tells it; ``stages`` is {name: {"status", "folder", "key", "seconds", "facts" ...}}."""

    path: Path
    prompt: str
    seed: int
    config: dict[str, Any]
    settled: dict[str, Any]
    stages: dict[str, dict[str, Any]]


def read_run(path: Path) -> RunLine:
    """The run in a folder.

    Raises:
        BadInput: none, or a manifest that cannot be used.
    """
    told = read_manifest(path)
    return RunLine(
        path,
        told["prompt"],
        told["seed"],
        told.get("config", {}),
        told.get("settled", {}),
        told.get("stages", {}),
    )
