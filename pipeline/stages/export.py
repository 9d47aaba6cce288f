"""Stage 50-export: files for other programs, and pictures of what was written, to look at first."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import cast

from ...systems.images.files import read_subject
from ..assets.placing import into_view
from ..exporters.exporting import Source, export_files
from ..exporters.glb import read_glb
from ..exporters.preview import preview_sheet, write_turntable
from ..run.commands import command
from ..run.prompts import file_name, slug
from ..run.stage import ROLES, StageContext
from .facts import ExportFacts
from .lift import chosen_picture


def run(ctx: StageContext) -> ExportFacts:
    """Write <slug>.<format> for each format, the same of each level of detail, preview.png and turntable.gif.

    A format that fails is noted, and the others are written all the same. The pictures show the GLB as it is read back
    from the disk, so that they would betray a file that is wrong.
    """
    settings = ctx.config.export
    source = Source(
        prompt=ctx.prompt,
        seed=ctx.seed,
        models=ctx.models.identities(ROLES),
        mesh_file=ctx.inputs["paint/mesh.safetensors"],
        crease_deg=ctx.config.mesh.crease_deg,
    )
    exported = export_files(source, settings, ctx.folder, stem=_stem(ctx), progress=ctx.progress)
    if exported.failed:
        lods = ["--lods"] if settings.lods else []
        retry = command("export", ctx.folder.parent, "--format", ",".join(exported.failed_formats), *lods)
        ctx.progress.notice(f"the same command tries again what was not written; so does `{retry}`")
    advance = ctx.progress.task("drawing pictures", 2)
    files = exported.written.files
    shown = into_view(read_glb(files["glb"])[0] if "glb" in files else exported.asset.mesh)
    preview_sheet(read_subject(chosen_picture(ctx)), shown, ctx.folder / "preview.png")
    advance()
    if settings.turntable_frames:
        write_turntable(shown, ctx.folder / "turntable.gif", frames=settings.turntable_frames)
    advance()
    facts = exported.told(attrgetter("name")) | {"preview": "preview.png"}
    facts |= {name: exported.asset.facts[name] for name in ("height_m", "assumed")}
    return cast(ExportFacts, facts | ({"glb": files["glb"].name} if "glb" in files else {}))


def _stem(ctx: StageContext) -> str:
    """What files are called: after the prompt, or without one after the picture."""
    return slug(ctx.prompt) if ctx.prompt else file_name(Path(ctx.config.image.picture[0]).stem)
