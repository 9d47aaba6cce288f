"""What the families of flow models have in common: how they read prompts, and what they refuse.

Prompts are read as by diffusers: cut at the end of each encoder, without weights of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..prompt_weights import plain_text
from .clip import ClipFeatures, clip_features


def read_by_clip(tokenizer: Any, encoder: Any, prompts: Sequence[str]) -> ClipFeatures:
    """The features of prompts, each cut at the encoder's end."""
    return clip_features(encoder, _ids(tokenizer, prompts, tokenizer.model_max_length))


def read_by_t5(tokenizer: Any, encoder: Any, prompts: Sequence[str], length: int) -> Tensor:
    """T5's last hidden states [B, T, C] of prompts, T at most ``length``; padding is read like words."""
    ids = _ids(tokenizer, prompts, min(length, tokenizer.model_max_length))
    return encoder(ids.to(encoder.device))[0]


def _ids(tokenizer: Any, prompts: Sequence[str], length: int) -> Tensor:
    return tokenizer(
        [plain_text(prompt) for prompt in prompts],
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
