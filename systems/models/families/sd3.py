"""Stable Diffusion 3 and 3.5: a transformer on a straight path, two CLIP encoders and, where it is there, T5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional as F

from ....guidance.conditioning import Conditioning
from ....guidance.flow_networks import SD3Predictor
from ....guidance.schedulers import flow_scheduler_named
from .family import Family, Reader, Sides, first_reader
from .joint import read_by_clip, read_by_t5

_TOKENS = 256
"""What T5 reads of a prompt, in diffusers' pipeline."""


def _assemble(parts: Mapping[str, Any], index: Mapping[str, Any]) -> Any:
    from diffusers import StableDiffusion3Pipeline

    return StableDiffusion3Pipeline(**parts)


def _condition(pipe: Any, prompts: list[str], size: tuple[int, int]) -> Conditioning:
    """Both CLIPs' features side by side, filled up to T5's width with zeros, and T5's behind them; zeros without T5."""
    read = [
        read_by_clip(tokenizer, encoder, prompts)
        for tokenizer, encoder in (
            (pipe.tokenizer, pipe.text_encoder),
            (pipe.tokenizer_2, pipe.text_encoder_2),
        )
    ]
    text = torch.cat([one.penultimate for one in read], -1).float()
    width = pipe.transformer.config.joint_attention_dim
    if pipe.text_encoder_3 is None:
        t5 = text.new_zeros(len(prompts), _TOKENS, width)
    else:
        t5 = read_by_t5(pipe.tokenizer_3, pipe.text_encoder_3, prompts, _TOKENS).float()
    text = F.pad(text, (0, width - text.shape[-1]))
    return Conditioning(
        text=torch.cat([text, t5.to(text.device)], 1),
        pooled=torch.cat([one.pooled for one in read], -1).float(),
    )


def _reader(pipe: Any) -> Reader | None:
    if pipe.text_encoder_3 is None:
        return first_reader(pipe)
    return Reader(pipe.tokenizer_3, min(_TOKENS, pipe.tokenizer_3.model_max_length))


def _sides(network: Any) -> Sides:
    """Its places are learned by heart up to ``pos_embed_max_size`` patches."""
    patch = network.config.patch_size
    return Sides(patch, patch * network.config.pos_embed_max_size)


SD3 = Family(
    parts={
        "transformer": ("SD3Transformer2DModel",),
        "vae": (),
        "text_encoder": ("CLIPTextModelWithProjection",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        "text_encoder_3": ("T5EncoderModel",),
        "tokenizer": (),
        "tokenizer_2": (),
        "tokenizer_3": (),
        "scheduler": ("FlowMatchEulerDiscreteScheduler",),
    },
    optional=("text_encoder_3", "tokenizer_3"),
    network="transformer",
    encoders=("text_encoder", "text_encoder_2", "text_encoder_3"),
    assemble=_assemble,
    condition=_condition,
    predictor=SD3Predictor,
    weighs_words=False,
    takes_images=False,
    null_text=False,
    sides=_sides,
    reader=_reader,
    prediction_type=lambda scheduler: "flow_prediction",
    sampler=flow_scheduler_named,
)
