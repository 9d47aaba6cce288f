"""What every writer is given: a mesh in its real size, standing on the ground, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...systems.types import Mesh

DEFAULT_ROUGHNESS = 0.5


@dataclass(frozen=True)
class Asset:
    """One object, ready to be written.

    Attributes:
        mesh: right-handed, +Z up, front along -Y, in metres, the middle of its base at the origin.
        name: of the object, mesh, material and textures, as Blender's outliner shows it.
        facts: JSON values that travel with the file: prompt, seed, models with licences, what was assumed.
        quads: whether formats that hold quads get them (see ``quads.pair_triangles``).
        roughness: of the whole surface, 0 (mirror) to 1, where ``mesh.orm`` does not say it texel by texel.
        textures: the kind of picture files for the maps: png, jpeg or webp (see ``pictures``).
    """

    mesh: Mesh
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    roughness: float = DEFAULT_ROUGHNESS
    quads: bool = False
    textures: str = "png"


Writer = Callable[[Asset, Path], None]
"""Writes one file, whole or not at all; SlipcastError with a sentence where it cannot."""
