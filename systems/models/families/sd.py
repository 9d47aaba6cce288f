"""Stable Diffusion 1 and 2, and the starter's prior: a UNet that reads one CLIP text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....guidance.conditioning import Conditioning
from ....guidance.networks import UNetPredictor
from .clip import each_clip
from .family import Family

PARTS: dict[str, tuple[str, ...]] = {
    "vae": (),
    "text_encoder": (),
    "tokenizer": (),
    "unet": ("UNet2DConditionModel",),
    "scheduler": (),
}


def _assemble(parts: Mapping[str, Any], index: Mapping[str, Any]) -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


def _condition(pipe: Any, prompts: list[str], size: tuple[int, int]) -> Conditioning:
    (read,) = each_clip([pipe.tokenizer], [pipe.text_encoder], prompts)
    return Conditioning(text=read.last.float())


SD = Family(
    parts=PARTS,
    network="unet",
    encoders=("text_encoder",),
    assemble=_assemble,
    condition=_condition,
    predictor=UNetPredictor,
    takes_controls=True,
)
