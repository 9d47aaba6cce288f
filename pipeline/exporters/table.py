"""The formats, as data: which function writes each.

To add one, write the function and one line here, or offer a ``Format`` from another package as an entry point of the
group ``slipcast.exporters``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...configs.plugins import entries, look_up

if TYPE_CHECKING:
    from ..assets.asset import Writer


@dataclass(frozen=True)
class Format:
    """One line of the table; the format's name is also its file ending.

    Attributes:
        writer: imports the writer with the libraries that it needs, and returns it.
        beside: endings, after the file's stem, of what else the writer may leave beside its file.
        textures: the kinds of picture files that it can hold; formats without pictures take any.
        find_program: looks for a program which the writer runs, and raises where there is none.
    """

    writer: Callable[[], Writer]
    beside: tuple[str, ...] = ()
    textures: tuple[str, ...] = ("png", "jpeg", "webp")
    find_program: Callable[[], object] | None = None

    def load(self) -> Writer:
        """The writer, with the libraries that it needs."""
        return self.writer()

    def prepare(self) -> None:
        """Load all that the writer needs beside an asset, so that what is missing raises before there is one."""
        self.load()
        if self.find_program is not None:
            self.find_program()


def _glb() -> Writer:
    from .glb import write_glb

    return write_glb


def _gltf() -> Writer:
    from .gltf import write_gltf

    return write_gltf


def _obj() -> Writer:
    from .obj import write_obj

    return write_obj


def _ply() -> Writer:
    from .ply import write_ply

    return write_ply


def _stl() -> Writer:
    from .stl import write_stl

    return write_stl


def _usdz() -> Writer:
    from .usdz import write_usdz

    return write_usdz


def _blend() -> Writer:
    from ..blender.writer import write_blend

    return write_blend


def _fbx() -> Writer:
    from ..blender.fbx import write_fbx

    return write_fbx


def _find_blender() -> object:
    from ..blender.process import find_blender

    return find_blender()


def _kinds(*endings: str) -> tuple[str, ...]:
    """Endings of maps for every kind of picture (``assets.pictures``); normals are never a JPEG."""
    kinds = {ending: ("png", "webp") if "normal" in ending else ("png", "jpg", "webp") for ending in endings}
    return tuple(f"{ending}.{kind}" for ending, of in kinds.items() for kind in of)


WRITERS: dict[str, Format] = {
    "glb": Format(_glb),
    "gltf": Format(_gltf, (".bin", *_kinds("_baseColorTexture", "_ormTexture", "_normalTexture"))),
    "obj": Format(
        _obj,
        (".mtl", *_kinds("_basecolor", "_normal"), "_normal.exr", "_roughness.exr", "_metallic.exr"),
    ),
    "ply": Format(_ply),
    "stl": Format(_stl),
    "usdz": Format(_usdz, textures=("png", "jpeg")),
    "fbx": Format(_fbx, textures=("png", "jpeg"), find_program=_find_blender),
    "blend": Format(_blend, find_program=_find_blender),
}


def format_names() -> list[str]:
    """Every format that can be asked for: ours, then the plug-ins'."""
    return [*WRITERS, *entries("exporters", WRITERS)]


def format_named(name: str) -> Format:
    """The format of that name, ours or a plug-in's. BadInput if there is none."""
    return look_up("exporters", name, WRITERS)


def main_files() -> frozenset[str]:
    """Endings of the formats' own files, which name those beside them."""
    return frozenset(f".{name}" for name in format_names())


def level_stem(stem: str, level: int) -> str:
    """The file stem, and the object's name, of a level of detail; level 0 is the full mesh."""
    return f"{stem}_lod{level}" if level else stem


def paths_of(name: str, folder: Path, stem: str) -> list[Path]:
    """All that a format may write for this stem, its own file first."""
    return [folder / f"{stem}{ending}" for ending in (f".{name}", *format_named(name).beside)]


def check_formats(formats: Sequence[str], textures: str = "png") -> None:
    """Raise ``BadInput`` unless at least one format is named, there are writers for all, and all hold the textures."""
    known = format_names()
    if not formats:
        raise BadInput(f"no format is named, so nothing would be written; known are {', '.join(known)}")
    for name in formats:
        if name not in known:
            raise unknown_name("format", name, known)
        held = format_named(name).textures
        if textures not in held:
            raise BadInput(
                f"{name} holds textures as {' or '.join(held)}, not as {textures} (export.textures); "
                f"choose one of these, or leave {name} out of the formats"
            )
