"""Stage 50-export: files for other programs, and pictures of what was written, to look at first."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...systems.field.voxels import VoxelField
from ...systems.types import Mesh, SubjectImage
from ..assets.placing import into_view
from ..assets.preparing import prepare
from ..exporters.glb import read_glb
from ..exporters.levels import Level, write_levels
from ..exporters.preview import preview_sheet, write_turntable
from ..exporters.writing import notices, write_formats
from ..run.prompts import slug
from ..run.stage import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Write <slug>.<format> for each format, the same of each level of detail, preview.png and turntable.gif.

    A format that fails is noted, and the others are written all the same. The pictures show the GLB as it is read back
    from the disk, so that they would betray a file that is wrong.
    """
    settings = ctx.config.export
    models = ctx.models.identities(("base", "domain", "lift_model"))
    mesh = Mesh.load(ctx.inputs["mesh"] / "mesh.safetensors")
    asset_of = partial(prepare, settings=settings, prompt=ctx.prompt, seed=ctx.seed, models=models)
    stem = slug(ctx.prompt)
    asset = asset_of(mesh, name=stem)
    advance = ctx.progress.task("writing files", len(settings.formats) + 2)
    written = write_formats(asset, ctx.folder, settings.formats, advance=advance)
    for sentence in notices(written, f"slipcast export {ctx.folder.parent}"):
        ctx.progress.notice(sentence)
    levels: list[Level] = []
    if settings.lods:
        field, kinds = VoxelField.load(ctx.inputs["refine"] / "field.safetensors"), list(written.files)
        levels = write_levels(
            mesh,
            field,
            settings.lods,
            ctx.folder,
            kinds,
            stem=stem,
            asset_of=asset_of,
            crease_deg=ctx.config.mesh.crease_deg,
            progress=ctx.progress,
        )
    shown = into_view(read_glb(written.files["glb"])[0] if "glb" in written.files else asset.mesh)
    preview_sheet(SubjectImage.load(ctx.inputs["image"] / "image.png"), shown, ctx.folder / "preview.png")
    advance()
    if settings.turntable_frames:
        write_turntable(shown, ctx.folder / "turntable.gif", frames=settings.turntable_frames)
    advance()
    files = {name: path.name for name, path in written.files.items()}
    facts = {"files": files, "failed": written.failed, "preview": "preview.png"}
    facts |= {name: asset.facts[name] for name in ("height_m", "assumed")}
    facts["lods"] = [
        {
            "fraction": level.fraction,
            "faces": level.faces,
            "files": {name: path.name for name, path in level.written.files.items()},
            "failed": level.written.failed,
        }
        for level in levels
    ]
    return facts | ({"glb": files["glb"]} if "glb" in files else {})
