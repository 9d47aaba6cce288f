"""What a page tells of a run, read from its folder alone: nothing is loaded, changed or taken for granted.

A manifest may be of a run at work, a stopped one, one of an older version, or edited by hand; so each entry is used if
it is what it should be, and left out if not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..run.manifest import MANIFEST, read_manifest
from ..run.record import RECORD
from ..stages.table import STAGES

EXPORTS = "exports"  # where ``slipcast export`` writes
STATES = ("finished", "partial", "running", "interrupted", "failed", "outdated")


@dataclass(frozen=True)
class StageTold:
    """A stage's line of the manifest; ``status`` is "waiting" for a stage that has not begun."""

    name: str
    folder: str
    status: str
    seconds: float | None
    memory_mb: float | None
    facts: dict[str, Any]
    models: dict[str, dict[str, Any]]
    error: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class RunTold:
    """A run as its pages show it; files and pictures are paths below ``path`` that were there just now."""

    path: Path
    prompt: str
    seed: int
    written: float
    stages: tuple[StageTold, ...]
    config: dict[str, Any]
    settled: dict[str, Any]
    versions: dict[str, Any]
    threads: Any
    files: tuple[tuple[Path, int], ...]
    glb: Path | None

    @property
    def state(self) -> str:
        """One of ``STATES``: what is worst among the stages, or "partial" where some have not begun."""
        found = {stage.status for stage in self.stages}
        for state in ("failed", "interrupted", "running", "outdated"):
            if state in found:
                return state
        return "partial" if "waiting" in found else "finished"

    @property
    def seconds(self) -> float:
        """Of all finished stages."""
        return sum(stage.seconds or 0.0 for stage in self.stages)

    @property
    def memory_mb(self) -> float:
        """The most of any stage."""
        return max((stage.memory_mb or 0.0 for stage in self.stages), default=0.0)

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """{role: what is known of the model} of all stages."""
        found: dict[str, dict[str, Any]] = {}
        for stage in self.stages:
            for role, told in stage.models.items():
                found[role] = {**told, **found.get(role, {})}
        return found

    def stage(self, name: str) -> StageTold | None:
        """A stage by name."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def file(self, stage: str, name: Any) -> Path | None:
        """A file of a stage, or of its unfinished attempt; None if it is not there."""
        told = self.stage(stage)
        if told is None or not isinstance(name, str):
            return None
        places = (self.path / folder / name for folder in (told.folder, f"{told.folder}.partial"))
        return next((place for place in places if _is_inside(place, self.path)), None)


def read_told(run: Path) -> RunTold:
    """All that a page tells of the run in a folder.

    Raises:
        BadInput: no manifest, or one that is none.
        OSError: the folder cannot be read.
    """
    manifest = read_manifest(run).as_json()
    lines = dict(manifest.get("stages", {}))
    order = [stage.name for stage in STAGES] + [name for name in lines if name not in dict(_known())]
    stages = [_stage(name, lines.get(name)) for name in order]
    told = RunTold(
        path=run,
        prompt=manifest["prompt"],
        seed=manifest["seed"],
        written=(run / MANIFEST).stat().st_mtime,
        stages=tuple(sorted(stages, key=lambda stage: stage.folder)),
        config=_table(manifest.get("config")),
        settled=_table(manifest.get("settled")),
        versions=_table(manifest.get("versions")),
        threads=manifest.get("threads"),
        files=tuple(_files(run, lines)),
        glb=None,
    )
    return _with_glb(told)


def _known() -> Iterator[tuple[str, str]]:
    return ((stage.name, stage.folder) for stage in STAGES)


def _stage(name: str, line: Mapping[str, Any] | None) -> StageTold:
    standard = dict(_known()).get(name, name)
    if line is None:
        return StageTold(name, standard, "waiting", None, None, {}, {}, None, ())
    folder = line.get("folder")
    plain = isinstance(folder, str) and folder[:1] not in ("", ".") and Path(folder).name == folder
    error = line.get("error")
    return StageTold(
        name=name,
        folder=str(folder) if plain else standard,
        status=line.get("status", "finished"),
        seconds=_number(line.get("seconds")),
        memory_mb=_number(line.get("peak_memory_mb")),
        facts=_table(line.get("facts")),
        models={role: told for role, told in _table(line.get("models")).items() if isinstance(told, dict)},
        error=error if isinstance(error, str) else None,
        notes=tuple(word for word in ("resumed", "edited") if line.get(word) is True),
    )


def _files(run: Path, lines: Mapping[str, Any]) -> Iterator[tuple[Path, int]]:
    """(file, bytes) of what was exported: by the stage, and by ``slipcast export`` later on."""
    export = _stage("export", lines.get("export"))
    for folder in (run / export.folder, run / EXPORTS):
        if folder.is_dir():
            for path in sorted(folder.rglob("*")):
                hidden = any(part.startswith(".") for part in path.relative_to(run).parts)
                if path.is_file() and not hidden and path.name != RECORD:
                    yield path, path.stat().st_size


def _with_glb(told: RunTold) -> RunTold:
    export = told.stage("export")
    named = told.file("export", export.facts.get("glb")) if export else None
    found = [path for path, _ in told.files if path.suffix == ".glb"]
    return replace(told, glb=named or (found[0] if found else None))


def _is_inside(path: Path, folder: Path) -> bool:
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
