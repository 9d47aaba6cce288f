"""Settings of the stage 50-export."""

from __future__ import annotations

from dataclasses import dataclass

from .setting import setting


@dataclass(frozen=True)
class ExportConfig:
    """Stage 50-export: files for other programs, and pictures to look at."""

    formats: list[str] = setting(
        ["glb"],
        "File formats written.",
        choices=("glb", "gltf", "obj", "ply", "stl", "usdz", "fbx", "blend"),
        offers="exporters",
        at_least_one=True,
    )
    height_m: float | None = setting(
        None,
        "Height of the object in metres; null takes one unit of the object's frame, which is 2 wide, for one metre.",
        at_least=0.001,
        at_most=1000,
    )
    roughness: float | None = setting(
        None,
        "Roughness of the whole surface, 0 glossy to 1 matt; null takes what the domain says (porcelain: 0.2).",
        at_least=0,
        at_most=1,
    )
    quads: bool = setting(
        False,
        "Pair triangles into quads where the format holds them (OBJ, FBX, .blend); the surface stays the same.",
    )
    lods: list[float] = setting(
        [],
        "Levels of detail beside the full mesh, as fractions of its faces, such as [0.5, 0.25, 0.1]; empty for none.",
        at_least=0.001,
        at_most=0.99,
    )
    faces: int | None = setting(
        None,
        "Faces to reduce the mesh to, with a new atlas and the base colour alone; null keeps the mesh and its maps.",
        at_least=4,
        added_later=True,
    )
    textures: str = setting(
        "png",
        "Picture files of the maps: png; jpeg, smaller; webp, smallest, known to fewer programs and not held by USDZ.",
        choices=("png", "jpeg", "webp"),
        added_later=True,
    )
    turntable_frames: int = setting(24, "Frames of the turntable; 0 writes none.", at_least=0, at_most=720)
