"""A finished run's files: every format and level of detail, for the export stage and ``slipcast export`` alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ...configs.atomic import explain_os_errors
from ...configs.schema import ExportConfig
from ...systems.types import Mesh
from ..assets.asset import Asset
from ..assets.preparing import prepare
from ..run.progress import Progress
from ..run.staging import all_or_nothing
from .levels import Level, kept_more, with_faces, write_levels
from .table import level_stem, main_files
from .writing import Written, write_formats


@dataclass(frozen=True)
class Source:
    """What is exported, and where it comes from.

    Attributes:
        models: {role: {"id", "revision", "licence"}}; the domain may add "roughness".
        mesh_file: the mesh in the field's frame, as the stages left it; levels of detail are painted from its texture.
        crease_deg: as the mesh was made with.
    """

    prompt: str
    seed: int
    models: Mapping[str, Mapping[str, Any]]
    mesh_file: Path
    crease_deg: float


@dataclass(frozen=True)
class Exported:
    """What became of an export: the full mesh's files, and those of each level of detail."""

    asset: Asset
    written: Written
    levels: tuple[Level, ...]

    @property
    def paths(self) -> list[Path]:
        """All files that other programs open, the full mesh's first."""
        return [path for part in self._parts() for path in part.files.values()]

    @property
    def failed(self) -> dict[str, str]:
        """{format, or file name of a level: why it is missing}."""
        of_levels = {
            f"{level_stem(self.asset.name, level.number)}.{kind}": sentence
            for level in self.levels
            for kind, sentence in level.written.failed.items()
        }
        return self.written.failed | of_levels

    @property
    def failed_formats(self) -> list[str]:
        """The formats of all that is missing."""
        return list(dict.fromkeys(kind for part in self._parts() for kind in part.failed))

    @property
    def bytes(self) -> int:
        """Size of all that was written, with what lies beside the formats' own files."""
        return sum(part.bytes for part in self._parts())

    def told(self, named: Callable[[Path], str] = str) -> dict[str, Any]:
        """As JSON values: files, failures and levels; ``named`` says how a file is called."""
        levels = [
            {
                "fraction": level.fraction,
                "faces": level.faces,
                "files": _named(level.written, named),
                "failed": level.written.failed,
            }
            for level in self.levels
        ]
        return {"files": _named(self.written, named), "failed": self.failed, "lods": levels}

    def _parts(self) -> list[Written]:
        return [self.written, *(level.written for level in self.levels)]


def export_files(
    source: Source, settings: ExportConfig, folder: Path, *, stem: str, progress: Progress
) -> Exported:
    """Write ``<stem>.<format>`` and ``<stem>_lod<n>.<format>`` into a folder that is there.

    With ``settings.faces`` the full mesh, whose fractions the levels are, is the one reduced to so many.
    A format that fails is told and loses no other. The files take their places together, at the end: a command that is
    stopped before leaves none of them.

    Raises:
        BadInput: a format that is none.
        SlipcastError: the mesh is damaged, or not one format could be written.
    """
    mesh = with_faces(Mesh.load(source.mesh_file), settings.faces, crease_deg=source.crease_deg)
    if settings.faces is not None:
        kept_more(stem, mesh, settings.faces, progress.notice)
    asset_of = partial(
        prepare, settings=settings, prompt=source.prompt, seed=source.seed, models=source.models
    )
    asset, levels = asset_of(mesh, name=stem), []
    formats = list(dict.fromkeys(settings.formats))
    with (
        explain_os_errors(folder, "writing the files"),
        all_or_nothing(folder, last=main_files()) as place,
    ):
        advance = progress.task("writing files", len(formats))
        written = write_formats(asset, place, formats, advance=advance).some()
        for kind, sentence in written.failed.items():
            progress.notice(f"{kind} was not written: {sentence}")
        if settings.lods:
            levels = write_levels(
                mesh,
                settings.lods,
                place,
                list(written.files),  # a format that failed for the full mesh is told once
                stem=stem,
                asset_of=asset_of,
                crease_deg=source.crease_deg,
                progress=progress,
            )
    levels = [replace(level, written=level.written.moved(folder)) for level in levels]
    return Exported(asset, written.moved(folder), tuple(levels))


def _named(written: Written, named: Callable[[Path], str]) -> dict[str, str]:
    return {kind: named(path) for kind, path in written.files.items()}
