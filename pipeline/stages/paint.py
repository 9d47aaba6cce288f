"""Stage 45-paint: views of the mesh are denoised together, by what drew the picture, and agree in its base colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ...configs.errors import BadInput
from ...configs.schema.paint import NO_CONTROL
from ...guidance.conditioning import Control
from ...systems.field.cameras import orbit_camera, view_word
from ...systems.images.control_maps import map_of
from ...systems.images.files import read_subject
from ...systems.models.controlnet import control_network
from ...systems.refine.views import BACKGROUNDS
from ...systems.texture.painting import Painter, paint, painting_angles
from ...systems.texture.shape_views import shape_views
from ...systems.types import Mesh
from ..run.stage import StageContext
from .facts import PaintedFacts, PaintFacts
from .guided_views import guided_views
from .lift import chosen_picture


def run(ctx: StageContext) -> PaintFacts:
    """Write mesh.safetensors, with a new base colour, and texture.png.

    The facts say whether the mesh was painted, and if not, why: then it is the mesh stage's own.
    """
    mesh = Mesh.load(ctx.inputs["mesh/mesh.safetensors"])
    facts: PaintFacts
    if not ctx.config.paint.steps:
        facts = {"painted": False, "why": "paint.steps=0 leaves the paint of the mesh"}
    else:
        try:
            mesh, told = _painted(ctx, mesh)
            facts = {"painted": True, **told}
        except BadInput as error:
            facts = {"painted": False, "why": str(error)}
            ctx.progress.notice(f"the mesh keeps its paint: {error}")
    _save(mesh, ctx.folder)
    return facts


def _painted(ctx: StageContext, mesh: Mesh) -> tuple[Mesh, PaintedFacts]:
    config, base = ctx.config.paint, ctx.models.base
    if base.family.reads != "text":
        raise BadInput(
            f"the base {base.name!r} draws classes and cannot be told which side it sees; paint.steps=0 leaves this out"
        )
    if not hasattr(base.pipeline.vae, "encode"):
        raise BadInput(
            f"the autoencoder of the base {base.name!r} has no encoder, which painting needs; "
            "paint.steps=0 leaves this out"
        )
    size = base.picture_size if config.size is None else config.size
    if size % base.cell:
        raise BadInput(f"paint.size must be a multiple of {base.cell} for {base.name!r}, not {size}")
    angles = painting_angles(config.views, math.radians(ctx.config.image.elevation_deg))
    backgrounds = [BACKGROUNDS[0]] * len(angles)  # grey: of a colour, autoencoders leave a rim on thin parts
    picture = ctx.config.image
    # The picture's own recipe, but weaker: where shape and layout are there, strong guidance only burns colours.
    factor = 1.0 if config.guidance is None else config.guidance
    asked = replace(
        picture,
        weights={name: factor * w for name, w in picture.weights.items()},
        balance=None if picture.balance is None else factor * picture.balance,
    )
    words = [view_word(*pair) for pair in angles]
    denoiser_for = guided_views(ctx, asked, controls=_controls(ctx, mesh, angles, size))
    advance = ctx.progress.task("painting", config.steps or 0)
    painted, told = paint(
        mesh,
        Painter(denoiser_for(words, backgrounds), base.encode, base.decode),
        angles,
        np.array(backgrounds),
        picture=read_subject(chosen_picture(ctx)),
        size=size,
        config=config,
        generator=ctx.generator("noise"),
        progress=lambda done, total: advance(),
    )
    return painted, PaintedFacts(
        seen=told["seen"], held_by_picture=told["held_by_picture"], changed=told["changed"]
    )


def _controls(
    ctx: StageContext, mesh: Mesh, angles: Sequence[tuple[float, float]], size: int
) -> tuple[Control, ...]:
    """The shape as a ControlNet sees it from every camera, where one is asked for."""
    kind = ctx.config.paint.control
    if kind in (None, NO_CONTROL):
        return ()
    network = control_network(kind, ctx.models.base)
    shown = shape_views(mesh, [orbit_camera(*pair) for pair in angles], size, kind)
    drawn = np.stack([map_of(kind, one) for one in shown])
    picture = torch.from_numpy(drawn.transpose(0, 3, 1, 2).copy())
    return (Control(network, picture, ctx.config.paint.control_scale),)


def _save(mesh: Mesh, folder: Path) -> None:
    mesh.save(folder / "mesh.safetensors")
    if mesh.texture is not None:
        Image.fromarray(mesh.texture).save(folder / "texture.png")
