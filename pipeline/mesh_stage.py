"""Stage 40-mesh: the field becomes a closed triangle mesh with a base-colour texture."""

from __future__ import annotations

from typing import Any

from PIL import Image

from ..systems.fields import VoxelField
from ..systems.mesh_checks import report
from ..systems.surface import extract_surface
from ..systems.texture import bake, unwrap
from .stages import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Write mesh.safetensors and texture.png; the facts say whether the mesh is watertight."""
    settings = ctx.config.mesh
    field = VoxelField.load(ctx.inputs["refine"] / "field.safetensors")
    advance = ctx.progress.task("surface, atlas, paint", 3)
    mesh = extract_surface(field, resolution=settings.resolution, target_faces=settings.target_faces)
    advance()
    mesh = unwrap(mesh, size=settings.texture_size)
    advance()
    mesh = bake(mesh, field, size=settings.texture_size)
    mesh.save(ctx.folder / "mesh.safetensors")
    if mesh.texture is not None:
        Image.fromarray(mesh.texture).save(ctx.folder / "texture.png")
    advance()
    return report(mesh).as_dict()
