"""SDXL: two text encoders side by side, pooled text, and the sizes of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ....guidance.conditioning import Conditioning
from ....guidance.networks import UNetPredictor
from ..single_file.original import Encoder, Original
from .clip import each_clip, zeroed_where_empty
from .family import Family
from .sd import PARTS


def _assemble(parts: Mapping[str, Any], index: Mapping[str, Any]) -> Any:
    from diffusers import StableDiffusionXLPipeline

    zeros = index.get("force_zeros_for_empty_prompt", True)
    return StableDiffusionXLPipeline(**parts, force_zeros_for_empty_prompt=zeros)


def _condition(pipe: Any, prompts: list[str], size: tuple[int, int]) -> Conditioning:
    """(height, width) without a crop; the empty prompt is all zeros, where the model says so."""
    read = each_clip([pipe.tokenizer, pipe.tokenizer_2], [pipe.text_encoder, pipe.text_encoder_2], prompts)
    text, pooled = torch.cat([one.penultimate for one in read], -1), read[-1].pooled
    if pipe.config.force_zeros_for_empty_prompt:
        text, pooled = zeroed_where_empty(text, prompts), zeroed_where_empty(pooled, prompts)
    sizes = torch.tensor([[*size, 0, 0, *size]], dtype=torch.float32)
    return Conditioning(text=text.float(), pooled=pooled.float(), time_ids=sizes)


def _unconditional(pipe: Any, size: tuple[int, int]) -> Conditioning:
    told = _condition(pipe, [""], size)
    return Conditioning(pooled=told.pooled, time_ids=told.time_ids)


SDXL = Family(
    parts={**PARTS, "text_encoder_2": (), "tokenizer_2": ()},
    network="unet",
    encoders=("text_encoder", "text_encoder_2"),
    assemble=_assemble,
    condition=_condition,
    predictor=UNetPredictor,
    takes_controls=True,
    unconditional=_unconditional,
    originals=(
        Original(
            name="Stable Diffusion XL",
            pipeline="StableDiffusionXLPipeline",
            encoders=(
                Encoder("text_encoder", "tokenizer", "conditioner.embedders.0.transformer."),
                Encoder(
                    "text_encoder_2",
                    "tokenizer_2",
                    "conditioner.embedders.1.model.",
                    open_clip=True,
                    projected=True,
                    pad="!",
                ),
            ),
            scaling_factor=0.13025,
            latents={"epsilon": 128, "v_prediction": 128},
            scheduler={"timestep_spacing": "leading"},
            index={"force_zeros_for_empty_prompt": True},
        ),
    ),
)
