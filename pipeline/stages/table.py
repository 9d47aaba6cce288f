"""The five stages, in order. To add one, write a file with ``run(ctx)`` in this folder and one entry here.

Another package adds one by an entry point of the group ``slipcast.stages`` that gives a ``Stage``.
"""

from __future__ import annotations

from typing import Any

from ...configs.plugins import entries, loaded
from ..run.stage import Stage, StageContext, in_order


def _image(ctx: StageContext) -> dict[str, Any]:
    from .image import run

    return run(ctx)


def _lift(ctx: StageContext) -> dict[str, Any]:
    from .lift import run

    return run(ctx)


def _refine(ctx: StageContext) -> dict[str, Any]:
    from .refine import run

    return run(ctx)


def _mesh(ctx: StageContext) -> dict[str, Any]:
    from .mesh import run

    return run(ctx)


def _export(ctx: StageContext) -> dict[str, Any]:
    from .export import run

    return run(ctx)


_GUIDED = ("dtype", "device", "domain_strength", "lora_scale")
"""What all stages that ask the guided denoiser read of the settings of all."""

STAGES: tuple[Stage, ...] = (
    # Version 2: candidates are ranked by the text alone, with four draws of noise.
    Stage(
        "image",
        "10-image",
        _image,
        gives=("image.png",),
        roles=("base", "vae", "domain", "model"),
        reads=_GUIDED,
        version=2,
    ),
    Stage(
        "lift",
        "20-lift",
        _lift,
        needs=("image",),
        gives=("field.safetensors",),
        roles=("lift_model",),
        reads=("device",),
    ),
    # Version 2: the surface ends hard, and colours do not change across its skin. Version 3: thin parts stay whole.
    # Version 4: draws come from the same stream as everywhere else.
    Stage(
        "refine",
        "30-refine",
        _refine,
        needs=("image", "lift"),
        gives=("field.safetensors",),
        roles=("base", "vae", "domain", "model"),
        reads=("image.elevation_deg", *_GUIDED),
        version=4,
    ),
    # Version 2: vertices lie on the field's own level set, hidden pieces are gone. Version 3: decimation opens pinches.
    # Version 4: three more tries to fill the atlas. Version 6: any face count is reached; gaps in the atlas are as wide
    # as its use allows, and filled for every mip-map. Version 7: nodes on the level itself; rims of six texels.
    Stage("mesh", "40-mesh", _mesh, needs=("refine",), gives=("mesh.safetensors",), version=7),
    # The models' licences go into the exported files; levels of detail are painted from the refined field.
    # Version 2: on the ground, in metres; pictures of the file itself.
    Stage(
        "export",
        "50-export",
        _export,
        needs=("image", "refine", "mesh"),
        gives=("preview.png",),
        roles=("base", "vae", "domain", "model", "lift_model"),
        reads=("mesh.crease_deg",),
        card=("roughness",),
        version=2,
    ),
)


def all_stages() -> tuple[Stage, ...]:
    """Ours, and those of other packages after what they need.

    Raises:
        BadInput: another package's stage cannot be loaded, or cannot be put into an order.
    """
    theirs = entries("stages", [stage.name for stage in STAGES])
    return in_order(STAGES, [loaded("stages", entry, like=STAGES[0]) for entry in theirs.values()])
