"""Stage 50-export: files for other programs, and pictures to look at first."""

from __future__ import annotations

from typing import Any

from ..systems.types import Mesh, SubjectImage
from .gltf import write_glb
from .preview import preview_sheet, write_turntable
from .prompts import slug
from .stages import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Write <slug>.glb, preview.png and turntable.gif."""
    settings = ctx.config.export
    mesh = Mesh.load(ctx.inputs["mesh"] / "mesh.safetensors")
    subject = SubjectImage.load(ctx.inputs["image"] / "image.png")
    name = slug(ctx.prompt)
    advance = ctx.progress.task("writing files", 3)
    licences = {
        role: told["licence"]
        for role, told in ctx.models.identities(("base", "domain", "lift_model")).items()
    }
    extras = {"generator": "slipcast", "prompt": ctx.prompt, "seed": ctx.seed, "model_licences": licences}
    write_glb(mesh, ctx.folder / f"{name}.glb", name=name, extras=extras)
    advance()
    preview_sheet(subject, mesh, ctx.folder / "preview.png")
    advance()
    if settings.turntable_frames:
        write_turntable(mesh, ctx.folder / "turntable.gif", frames=settings.turntable_frames)
    advance()
    return {"glb": f"{name}.glb", "preview": "preview.png"}
