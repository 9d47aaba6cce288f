"""The formats, as data: which function writes each. To add one, write the function and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...configs.errors import BadInput
from ...configs.names import unknown_name

if TYPE_CHECKING:
    from ..assets.asset import Writer


@dataclass(frozen=True)
class Format:
    """One line of the table; the format's name is also its file ending.

    Attributes:
        writer: ``module:function``, relative to this package, imported when it is first asked for.
        beside: endings, after the file's stem, of what else the writer may leave beside its file.
        program: ``module:function`` that looks for a program which the writer runs, and raises where there is none.
    """

    writer: str
    beside: tuple[str, ...] = ()
    program: str = ""

    def load(self) -> Writer:
        """The writer, with the libraries that it needs."""
        return _load(self.writer)

    def prepare(self) -> None:
        """Load all that the writer needs beside an asset, so that what is missing raises before there is one."""
        self.load()
        if self.program:
            _load(self.program)()


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module, __package__), attribute)


WRITERS: dict[str, Format] = {
    "glb": Format(".glb:write_glb"),
    "obj": Format(
        ".obj:write_obj",
        (".mtl", "_basecolor.png", "_normal.png", "_normal.exr", "_roughness.exr", "_metallic.exr"),
    ),
    "ply": Format(".ply:write_ply"),
    "stl": Format(".stl:write_stl"),
    "usdz": Format(".usdz:write_usdz"),
    "blend": Format("..blender.writer:write_blend", program="..blender.process:find_blender"),
}

MAIN_FILES = frozenset(f".{name}" for name in WRITERS)
"""Endings of the formats' own files, which name those beside them."""


def level_stem(stem: str, level: int) -> str:
    """The file stem, and the object's name, of a level of detail; level 0 is the full mesh."""
    return f"{stem}_lod{level}" if level else stem


def paths_of(name: str, folder: Path, stem: str) -> list[Path]:
    """All that a format may write for this stem, its own file first."""
    return [folder / f"{stem}{ending}" for ending in (f".{name}", *WRITERS[name].beside)]


def check_formats(formats: Sequence[str]) -> None:
    """Raise ``BadInput`` unless at least one format is named and there are writers for all."""
    if not formats:
        raise BadInput(f"no format is named, so nothing would be written; known are {', '.join(WRITERS)}")
    for name in formats:
        if name not in WRITERS:
            raise unknown_name("format", name, WRITERS)
