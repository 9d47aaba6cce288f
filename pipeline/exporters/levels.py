"""Levels of detail: further decimations of a run's mesh, each unwrapped and painted anew, in files of their own.

Level 0 is the full mesh. The others stand exactly where it stands, so that one can take another's place without a jump;
their own lowest points may lie a little above or below the ground. They carry a base colour and no other map: bends and
shadows too small for the full mesh's faces are not to be seen from where a level is shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...systems.mesh.decimation import MISSED
from ...systems.mesh.extraction import levels_of_detail
from ...systems.texture.atlas import unwrap
from ...systems.texture.transfer import bake_from
from ...systems.types import Mesh
from ..assets.asset import Asset
from ..run.progress import Progress
from .table import level_stem
from .writing import Written, write_formats

_SMALLEST_TEXTURE = 64


@dataclass(frozen=True)
class Level:
    """One level of detail: its number from 1, the fraction that was asked for, its faces, and its files."""

    number: int
    fraction: float
    faces: int
    written: Written


def level_meshes(mesh: Mesh, fractions: Sequence[float], *, crease_deg: float = 180.0) -> list[Mesh]:
    """One mesh per fraction of the faces, with an atlas of its own and the mesh's base colour on it, if it has one.

    mesh: closed, in the field's frame. The texture's edge is halved with every quartering of the faces, and is at least
    64 texels: a texel stays about as large on the surface as the faces are. A level that cannot be reached without
    breaking the surface keeps more faces. Edges sharper than ``crease_deg`` are shaded as sharp.

    Raises:
        BadInput: a fraction outside ]0, 1].
    """
    bare = levels_of_detail(mesh, fractions, crease_deg=crease_deg)
    if mesh.texture is None:
        return bare
    made = []
    for fraction, level in zip(fractions, bare, strict=True):
        size = max(_SMALLEST_TEXTURE, mesh.texture.shape[0] >> round(math.log(1 / fraction, 4)))
        made.append(bake_from(mesh, unwrap(level, size=size), size=size))
    return made


def with_faces(mesh: Mesh, faces: int | None, *, crease_deg: float = 180.0) -> Mesh:
    """The mesh with so many faces: a level of detail, but with a texture as large as the mesh's own.

    mesh: closed, in the field's frame. Where fewer faces would break the surface it keeps more; the mesh itself is
    returned if it has no more than ``faces``, or for None.
    """
    if faces is None or faces >= len(mesh.faces):
        return mesh
    (few,) = levels_of_detail(mesh, [faces / len(mesh.faces)], crease_deg=crease_deg)
    if mesh.texture is None:
        return few
    size = mesh.texture.shape[0]
    return bake_from(mesh, unwrap(few, size=size), size=size)


def kept_more(name: str, mesh: Mesh, wanted: int, notice: Callable[[str], None]) -> None:
    """Tell where a mesh has more faces than were wanted."""
    if len(mesh.faces) > MISSED * wanted:
        notice(f"{name} has {len(mesh.faces)} faces, not {wanted}: with fewer its surface would break")


def write_levels(
    mesh: Mesh,
    fractions: Sequence[float],
    folder: Path,
    formats: Sequence[str],
    *,
    stem: str,
    asset_of: Callable[..., Asset],
    crease_deg: float,
    progress: Progress,
) -> list[Level]:
    """Write ``<stem>_lod1.<format>``, ``<stem>_lod2.<format>`` ... and tell where a level kept more faces than wanted.

    A format that fails for a level is told, and the others are written all the same.

    Args:
        mesh: the full mesh in the field's frame, as the stages left it.
        crease_deg: as the full mesh was made with.
        asset_of: ``prepare`` with all but mesh, ``name`` and ``like`` filled in.
    """
    advance = progress.task("levels of detail", 2 * len(fractions))
    meshes = level_meshes(mesh, fractions, crease_deg=crease_deg)
    advance(len(fractions))
    levels = []
    for number, (fraction, level) in enumerate(zip(fractions, meshes, strict=True), start=1):
        name = level_stem(stem, number)
        asset = asset_of(level, name=name, like=mesh)
        asset = replace(asset, facts={**asset.facts, "level_of_detail": number})
        written = write_formats(asset, folder, formats)
        for kind, sentence in written.failed.items():
            progress.notice(f"{name}.{kind} was not written: {sentence}")
        levels.append(Level(number, fraction, len(level.faces), written))
        kept_more(name, level, round(fraction * len(mesh.faces)), progress.notice)
        advance()
    return levels
