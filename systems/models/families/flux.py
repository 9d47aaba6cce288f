"""Flux.1: a transformer on a straight path that reads T5, and CLIP's pooled text; dev is told its guidance.

Both published models are distilled: dev has guidance inside (``guidance_embeds``), schnell needs none. True guidance,
against a negative prompt or none, may come on top: diffusers calls its weight ``true_cfg_scale``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ....guidance.conditioning import Conditioning
from ....guidance.flow_networks import FluxPredictor
from ....guidance.schedulers import flow_scheduler_named
from .family import Family, Reader, Sides
from .joint import read_by_clip, read_by_t5

_TOKENS = 512
"""What T5 reads of a prompt, in diffusers' pipeline."""
_DEV = 3.5
"""The guidance that dev is told, in diffusers' pipeline."""


def _assemble(parts: Mapping[str, Any], index: Mapping[str, Any]) -> Any:
    from diffusers import FluxPipeline

    return FluxPipeline(**parts)


def _condition(pipe: Any, prompts: list[str], size: tuple[int, int]) -> Conditioning:
    text = read_by_t5(pipe.tokenizer_2, pipe.text_encoder_2, prompts, _TOKENS)
    pooled = read_by_clip(pipe.tokenizer, pipe.text_encoder, prompts).pooled
    return Conditioning(text=text.float(), pooled=pooled.float())


def _latent_shape(network: Any, pipe: Any) -> tuple[int, int, int]:
    """A token is 2 x 2 latents; how large the pictures are, only the autoencoder says."""
    side = pipe.vae.config.sample_size // 2 ** (len(pipe.vae.config.block_out_channels) - 1)
    return network.config.in_channels // 4, side, side


FLUX = Family(
    parts={
        "transformer": ("FluxTransformer2DModel",),
        "vae": (),
        "text_encoder": ("CLIPTextModel",),
        "text_encoder_2": ("T5EncoderModel",),
        "tokenizer": (),
        "tokenizer_2": (),
        "scheduler": ("FlowMatchEulerDiscreteScheduler",),
    },
    network="transformer",
    encoders=("text_encoder", "text_encoder_2"),
    assemble=_assemble,
    condition=_condition,
    predictor=FluxPredictor,
    weighs_words=False,
    takes_images=False,
    null_text=False,
    sides=lambda network: Sides(2),
    reader=lambda pipe: Reader(pipe.tokenizer_2, min(_TOKENS, pipe.tokenizer_2.model_max_length)),
    told_guidance=lambda network: _DEV if network.config.guidance_embeds else None,
    latent_shape=_latent_shape,
    prediction_type=lambda scheduler: "flow_prediction",
    sampler=partial(flow_scheduler_named, even=True),
)
