"""The six stages, in order: which files each needs and gives, which models, which settings. Keys, what a stage may
open and ``--dry-run`` follow from this table. To add one, write a file with ``run(ctx)`` in this folder and one entry.

Another package adds one by an entry point of the group ``slipcast.stages`` that gives a ``Stage``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ...configs.plugins import entries, loaded
from ...configs.schema import RecipeConfig
from ..run.stage import DRAWING_ROLES, ROLES, Stage, StageContext, in_order


def _image(ctx: StageContext) -> Mapping[str, Any]:
    from .image import run

    return run(ctx)


def _lift(ctx: StageContext) -> Mapping[str, Any]:
    from .lift import run

    return run(ctx)


def _refine(ctx: StageContext) -> Mapping[str, Any]:
    from .refine import run

    return run(ctx)


def _mesh(ctx: StageContext) -> Mapping[str, Any]:
    from .mesh import run

    return run(ctx)


def _paint(ctx: StageContext) -> Mapping[str, Any]:
    from .paint import run

    return run(ctx)


def _export(ctx: StageContext) -> Mapping[str, Any]:
    from .export import run

    return run(ctx)


_GUIDED = ("dtype", "device", "domain_strength", "lora_scale", "embedded_guidance")
"""What all stages that ask the guided denoiser read of the settings of all."""
_AS_DRAWN = tuple(f"image.{item.name}" for item in fields(RecipeConfig))
"""With which guidance the picture was drawn."""
_CHOSEN = "lift/picture.png*"
"""The candidate that the lift chose, which is not there where it was given one picture; and no file of a folder."""

STAGES: tuple[Stage, ...] = (
    # Version 2: candidates are ranked by the text alone, with four draws of noise.
    Stage(
        "image",
        "10-image",
        _image,
        gives=("image.png",),
        makes=("image.png", "image-*.png", "image.json", "candidates.png", "kept-*.png", "kept.json"),
        roles=(*DRAWING_ROLES, "image.control", "image.conditions", "image.matting"),
        reads=("lift.keep", *_GUIDED),
        version=2,
        work=("image.steps", "image.candidates"),
        choice="pick",
        drawn=("candidates.png", "image.json"),
    ),
    # Version 2: what does not stand where the picture shows it is put there, unless it is the starter's.
    Stage(
        "lift",
        "20-lift",
        _lift,
        needs=("image/image.png", "image/image-*.png", "image/kept-*.png", "image/kept*.json"),
        gives=("field.safetensors",),
        makes=("field.safetensors", "picture.png", "command.log", "made/*", "pictures/*", "kept-*/*"),
        roles=("lift_model",),
        reads=("device", "image.elevation_deg"),
        version=2,
    ),
    # Version 2: the surface ends hard, and colours do not change across its skin. Version 3: thin parts stay whole.
    # Version 4: draws come from the same stream as everywhere else.
    Stage(
        "refine",
        "30-refine",
        _refine,
        needs=("image/image.png", "lift/field.safetensors", _CHOSEN),
        gives=("field.safetensors",),
        makes=(
            "field.safetensors",
            "curve.csv",
            "log.jsonl",
            "progress.png",
            "preview.png",
            "refine-checkpoint.safetensors",
            "refine-kept.safetensors",
        ),
        roles=(*DRAWING_ROLES, "refine.conditions", "refine.encoder"),
        reads=("image.elevation_deg", *_GUIDED),
        version=4,
        # Version 2: fewer levels, the picture weighs more, and the surface is handed on by its distances.
        revised=(("refine.field=hashgrid", 2),),
        work=("refine.steps", "refine.views"),
    ),
    # Version 2: vertices lie on the field's own level set, hidden pieces are gone. Version 3: decimation opens pinches.
    # Version 4: three more tries to fill the atlas. Version 6: any face count is reached; gaps in the atlas are as wide
    # as its use allows, and filled for every mip-map. Version 7: nodes on the level itself; rims of six texels.
    Stage(
        "mesh",
        "40-mesh",
        _mesh,
        needs=("refine/field.safetensors",),
        gives=("mesh.safetensors",),
        makes=("mesh.safetensors", "texture.png", "normal_map.png", "orm.png"),
        version=7,
    ),
    # As the picture was drawn, with the image stage's recipe.
    Stage(
        "paint",
        "45-paint",
        _paint,
        needs=("image/image.png", _CHOSEN, "mesh/mesh.safetensors"),
        gives=("mesh.safetensors",),
        makes=("mesh.safetensors", "texture.png"),
        roles=(*DRAWING_ROLES, "image.conditions", "paint.control"),
        reads=("image.elevation_deg", *_AS_DRAWN, *_GUIDED),
    ),
    # The models' licences go into the exported files; levels of detail are painted from the mesh's own texture.
    # Version 2: on the ground, in metres; pictures of the file itself. Version 3: levels from the texture.
    # How its other files are called is up to the prompt and the formats.
    Stage(
        "export",
        "50-export",
        _export,
        needs=("image/image.png", _CHOSEN, "paint/mesh.safetensors"),
        gives=("preview.png",),
        makes=("preview.png", "turntable.gif"),
        roles=ROLES,
        reads=("mesh.crease_deg", "image.picture"),
        card=("roughness",),
        version=3,
    ),
)


def all_stages() -> tuple[Stage, ...]:
    """Ours, and those of other packages after what they need.

    Raises:
        BadInput: another package's stage cannot be loaded, or cannot be put into an order.
    """
    theirs = entries("stages", [stage.name for stage in STAGES])
    return in_order(STAGES, [loaded("stages", entry, like=STAGES[0]) for entry in theirs.values()])
