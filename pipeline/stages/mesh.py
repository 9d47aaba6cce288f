"""Stage 40-mesh: the field becomes a closed triangle mesh with base colour, normals and occlusion as textures."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from PIL import Image

from ...systems.field.voxels import VoxelField
from ...systems.mesh.decimation import MISSED
from ...systems.mesh.extraction import extract_surface
from ...systems.mesh.report import report
from ...systems.texture.atlas import atlas_report, unwrap
from ...systems.texture.colour_baking import bake
from ...systems.texture.normal_baking import bake_normals, without_ripples
from ...systems.texture.occlusion_baking import bake_occlusion
from ...systems.texture.quality import bake_psnr, seam_difference
from ...systems.texture.texels import surface_texels
from ...systems.texture.view_baking import bake_views
from ...systems.types import Mesh
from ..run.stage import StageContext
from .facts import MeshFacts

_STEPS = ("surface", "atlas", "paint", "normals", "occlusion", "checks")
_SEEN = 8  # steps of 8 bits between the sides of a seam


def run(ctx: StageContext) -> MeshFacts:
    """Write mesh.safetensors and its maps as PNG: texture, and as set normal_map and orm.

    The facts say whether the mesh is watertight, how full its atlas is, whether seams show (in steps of 8 bits) and how
    alike mesh and field look (in dB).
    """
    settings = ctx.config.mesh
    size = settings.texture_size
    field = VoxelField.load(ctx.inputs["refine/field.safetensors"]).requires_grad_(False)
    advance = ctx.progress.task(", ".join(_STEPS), len(_STEPS))
    fine, mesh, threshold = extract_surface(
        field,
        resolution=settings.resolution,
        threshold=settings.threshold if settings.threshold == "auto" else float(settings.threshold),
        target_faces=settings.target_faces,
        crease_deg=settings.crease_deg,
    )
    if len(mesh.faces) > MISSED * settings.target_faces:
        ctx.progress.notice(
            f"the mesh has {len(mesh.faces)} faces, not the {settings.target_faces} wanted: with fewer, its "
            f"{_pieces_and_handles(mesh)} could not stay closed"
        )
    advance()
    mesh = unwrap(mesh, size=size)
    advance()
    texels = surface_texels(mesh, size)
    if settings.paint_views:
        mesh = bake_views(mesh, field, texels, views=settings.paint_views)
    else:
        mesh = bake(mesh, field, size=size, texels=texels)
    advance()
    if settings.normal_map:
        shaded = without_ripples(fine, 2 / field.resolution)
        mesh = bake_normals(mesh, shaded, size=size, texels=texels)
    advance()
    if settings.ambient_occlusion:
        mesh = bake_occlusion(mesh, size=size, texels=texels)
    advance()
    _save(mesh, ctx.folder)
    facts = report(mesh).as_dict() | {"fine_faces": len(fine.faces), "threshold": threshold}
    facts["target_faces"] = settings.target_faces
    facts |= {"atlas": atlas_report(mesh, size).as_dict(), "seams": seam_difference(mesh).as_dict()}
    facts["seams_in_mip_3"] = _seams_far_away(mesh, ctx)
    facts["bake_psnr_db"] = bake_psnr(mesh, field)
    advance()
    return cast(MeshFacts, facts)


def _seams_far_away(mesh: Mesh, ctx: StageContext) -> dict[str, int | float]:
    """Seams in the third mip-map, where a texel is as large as eight; told where charts are too small for it."""
    told = seam_difference(mesh, mip=3)
    if told.percentile_95 > _SEEN:
        charts = atlas_report(mesh, ctx.config.mesh.texture_size).charts
        ctx.progress.notice(
            f"from afar (mip-map 3) some seams may show: along 5 % of them the two sides differ by more than "
            f"{told.percentile_95:.1f} of 255, since the texture's {charts} charts are too small and too close to each "
            "other; a larger mesh.texture_size helps"
        )
    return told.as_dict()


def _pieces_and_handles(mesh: Mesh) -> str:
    """The surface's topology in words: what keeps a mesh from having fewer faces."""
    facts = report(mesh)
    return f"{facts.components} piece(s) and {facts.components - facts.euler_number // 2} handle(s)"


def _save(mesh: Mesh, folder: Path) -> None:
    mesh.save(folder / "mesh.safetensors")
    for name in ("texture", "normal_map", "orm"):
        picture = getattr(mesh, name)
        if picture is not None:
            Image.fromarray(picture).save(folder / f"{name}.png")
