"""A new word for a base's text encoder, whose embedding alone learns: textual inversion, through PEFT.

The word is ``<domain>``: a token of its own that no prompt spells by accident, beginning as the word that it stands
before in prompts would: as the mean of the embeddings of the domain's own words.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ...configs.errors import BadInput
from ...guidance.conditioning import Conditioning
from ..images.files import sides
from ..models.base import Base
from ..models.families.clip import chunks
from ..models.precision import quiet_libraries

WORD = "<domain>"


def save_words(base: Base, domain: str, folder: Path) -> None:
    """Write the base's tokenizer with the new word, and its text encoder with a row for it, float32.

    Args:
        domain: the words that it begins as.
    Raises: BadInput for a base that reads no text, or more than one text encoder.
    """
    from tokenizers import AddedToken

    if tuple(base.family.encoders) != ("text_encoder",):
        raise BadInput(
            f"the base {base.name!r} reads {len(base.family.encoders)} text encoders, and a new word is learned in one "
            "alone; choose Stable Diffusion 1 or 2, or another method"
        )
    tokenizer = copy.deepcopy(base.pipeline.tokenizer)
    like = tokenizer(domain, add_special_tokens=False).input_ids
    tokenizer.add_tokens([AddedToken(WORD, normalized=False)])
    with quiet_libraries(), torch.no_grad():
        encoder = copy.deepcopy(base.pipeline.text_encoder).to("cpu", torch.float32)
        encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        rows = encoder.get_input_embeddings().weight
        rows[word_number(tokenizer)] = rows[like].mean(0)
        encoder.save_pretrained(folder / "text_encoder")
        tokenizer.save_pretrained(folder / "tokenizer")


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer that knows the word."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)


def load_encoder(folder: Path, number: int) -> Any:
    """The text encoder, frozen but for the embedding of token ``number``."""
    from peft import TrainableTokensConfig, inject_adapter_in_model
    from transformers import CLIPTextModel

    with quiet_libraries():
        encoder: Any = CLIPTextModel.from_pretrained(
            folder / "text_encoder", local_files_only=True, dtype=torch.float32
        )
    encoder.requires_grad_(False)
    learns = TrainableTokensConfig(token_indices=[number], target_modules=["token_embedding"])
    return inject_adapter_in_model(learns, encoder)


def word_number(tokenizer: Any) -> int:
    """The number of the new word."""
    return int(tokenizer.convert_tokens_to_ids(WORD))


def ids_of(tokenizer: Any, prompt: str) -> Tensor:
    """A prompt as the encoder reads it in training: one chunk of token ids [1, T]."""
    return chunks(tokenizer, prompt).ids[:1]


def read(base: Base, tokenizer: Any, encoder: Any, prompts: Sequence[str]) -> Conditioning:
    """What the network is told for prompts, as the base reads its own, by the tokenizer and encoder with the word."""
    own = SimpleNamespace(tokenizer=tokenizer, text_encoder=encoder)
    with torch.no_grad():
        return base.family.condition(own, list(prompts), sides(base.picture_size))
