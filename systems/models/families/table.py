"""The families of bases, as data: which pipelines can be read, by the class that their ``model_index.json`` names.

To add one, write a file with a ``Family`` beside this one and a line here, or offer one from another package as
an entry point of the group ``slipcast.families``, named after its pipeline.
"""

from __future__ import annotations

from pathlib import Path

from ....configs.atomic import read_json_object
from ....configs.errors import BadInput
from ....configs.names import shown_key
from ....configs.plugins import entries, look_up
from ..weight_files import MODEL_INDEX
from .dit import DIT
from .family import Family
from .flux import FLUX
from .sd import SD
from .sd3 import SD3
from .sdxl import SDXL

FAMILIES: dict[str, Family] = {
    "StableDiffusionPipeline": SD,
    "StableDiffusionXLPipeline": SDXL,
    "DiTPipeline": DIT,
    "StableDiffusion3Pipeline": SD3,
    "FluxPipeline": FLUX,
}

# Other ways to draw with the same parts; what they add (a ControlNet, a safety checker) is not read.
_SAME_PARTS = {
    f"{family}{use}Pipeline": f"{family}Pipeline"
    for family in ("StableDiffusion", "StableDiffusionXL", "StableDiffusion3", "Flux")
    for use in ("Img2Img", "Inpaint", "InpaintLegacy", "ControlNet", "ControlNetImg2Img", "ControlNetInpaint")
}


def family_of(folder: Path) -> Family:
    """The family of the pipeline that a folder holds. BadInput when it holds none, or one of no family of ours."""
    index = folder / MODEL_INDEX
    if not index.is_file():
        raise BadInput(
            f"{folder} is not a diffusers model: it has no {MODEL_INDEX}; give a folder that save_pretrained wrote"
        )
    named = read_json_object(index, "the model's index").get("_class_name")
    if named is None:
        raise BadInput(f"{index} is unreadable: it names no _class_name; copy, fetch or build it again")
    kind = _SAME_PARTS.get(str(named), str(named))
    known = [*FAMILIES, *entries("families", FAMILIES)]
    if kind not in known:
        raise BadInput(
            f"{folder} is a {shown_key(kind)}, which slipcast cannot guide (docs/guidance.md says why); "
            f"it reads {', '.join(known)}"
        )
    return look_up("families", kind, FAMILIES)
