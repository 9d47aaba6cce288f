"""Settings of the stage 40-mesh."""

from __future__ import annotations

from dataclasses import dataclass

from .setting import setting


@dataclass(frozen=True)
class MeshConfig:
    """Stage 40-mesh: the field becomes a triangle mesh with textures."""

    resolution: int = setting(
        192, "Samples of the field along each side for the iso-surface.", at_least=8, at_most=1024
    )
    target_faces: int = setting(20000, "Faces aimed at by decimation.", at_least=100, at_most=2_000_000)
    texture_size: int = setting(1024, "Side of the textures, in pixels.", at_least=16, at_most=8192)
    threshold: str = setting(
        "auto", "Density of the surface; auto takes the one whose outlines agree best with the field's own."
    )
    crease_deg: float = setting(
        180.0,
        "Edges whose faces' normals differ by more than this are shaded as sharp, in degrees; 180 shades all smooth.",
        at_least=0,
        at_most=180,
    )
    paint_views: int = setting(
        0,
        "Cameras all round whose views of the field make the base colour; 0 looks along the normals alone.",
        at_least=0,
        at_most=256,
    )
    normal_map: bool = setting(True, "Bake what decimation took away into a normal map.")
    ambient_occlusion: bool = setting(True, "Bake how much sky each point sees into the red of an ORM map.")
