"""Stable Diffusion 1 and 2, and the starter's prior: a UNet that reads one CLIP text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....guidance.conditioning import Conditioning
from ....guidance.networks import UNetPredictor
from ..single_file.original import Encoder, Original
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

    unread: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
    return StableDiffusionPipeline(**parts, **unread, requires_safety_checker=False)


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
    originals=(
        Original(
            name="Stable Diffusion 1",
            pipeline="StableDiffusionPipeline",
            encoders=(Encoder("text_encoder", "tokenizer", "cond_stage_model.transformer."),),
            scaling_factor=0.18215,
            latents={"epsilon": 64, "v_prediction": 64},
            heads=8,
        ),
        Original(
            name="Stable Diffusion 2",
            pipeline="StableDiffusionPipeline",
            encoders=(
                Encoder(
                    "text_encoder",
                    "tokenizer",
                    "cond_stage_model.model.",
                    open_clip=True,
                    without_last=True,
                    pad="!",
                ),
            ),
            scaling_factor=0.18215,
            latents={"epsilon": 64, "v_prediction": 96},
        ),
    ),
)
