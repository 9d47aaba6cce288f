"""How one CLIP text encoder turns prompts into features: the same for every family that has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class ClipFeatures(NamedTuple):
    """What one text encoder says of prompts.

    Attributes:
        last: its last hidden states, normalised [B, T, C].
        penultimate: the hidden states before its last layer [B, T, C].
        pooled: one vector for each prompt [B, P], projected where the encoder has a projection.
    """

    last: Tensor
    penultimate: Tensor
    pooled: Tensor


def token_ids(tokenizer: Any, prompts: Sequence[str]) -> Tensor:
    """[B, T], every prompt cut off or padded to what the encoder reads."""
    return tokenizer(
        list(prompts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True,
        return_tensors="pt",
    ).input_ids  # fmt: skip


def clip_features(encoder: Any, ids: Tensor) -> ClipFeatures:
    """The features of token ids [B, T], in the encoder's dtype and on its device.

    Args:
        encoder: transformers' ``CLIPTextModel`` or ``CLIPTextModelWithProjection``.
    """
    told = encoder(ids.to(encoder.device), output_hidden_states=True)
    pooled = told.text_embeds if hasattr(told, "text_embeds") else told.pooler_output
    return ClipFeatures(told.last_hidden_state, told.hidden_states[-2], pooled)


def each_clip(
    tokenizers: Sequence[Any], encoders: Sequence[Any], prompts: Sequence[str]
) -> list[ClipFeatures]:
    """What each of a model's encoders says of the same prompts, read by its own tokenizer."""
    return [
        clip_features(encoder, token_ids(tokenizer, prompts))
        for tokenizer, encoder in zip(tokenizers, encoders, strict=True)
    ]


def zeroed_where_empty(features: Tensor, prompts: Sequence[str]) -> Tensor:
    """Features [B, ...] with zeros for every empty prompt."""
    kept = torch.tensor([float(bool(prompt)) for prompt in prompts]).to(features)
    return features * kept.view(-1, *[1] * (features.ndim - 1))
