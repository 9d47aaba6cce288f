"""How one CLIP text encoder turns prompts into features: the same for every family that has one.

Weights and long prompts follow AUTOMATIC1111's web UI (modules/sd_hijack_clip.py and sd_emphasis.py, emphasis
"Original"): a prompt is read in chunks of as many tokens as the encoder takes, each with a start and an end of its own,
and their features follow one another. A full chunk is cut behind its last comma if at most 20 tokens come after it. A
weight multiplies the features of its tokens, and then all of that chunk by one number that restores their mean. What
is pooled is the first chunk's, without weights. A short prompt of weight 1 is read as by diffusers, to the bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..prompt_weights import plain_text, sections

_BACKTRACK = 20
"""Tokens behind a comma that go on into the next chunk with each other, rather than being torn apart."""


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


class Chunks(NamedTuple):
    """A prompt as an encoder reads it: token ids [N, T] and their weights [N, T], N chunks of T tokens."""

    ids: Tensor
    weights: Tensor


class _Unit(NamedTuple):
    """Tokens that stay together: one, or all vectors of an embedding; and their weight."""

    ids: tuple[int, ...]
    weight: float


def spells_words(tokenizer: Any) -> bool:
    """Whether it spells every word in pieces, as CLIP's does; a list of words has a token for all unknown ones."""
    return tokenizer.unk_token_id in (None, tokenizer.eos_token_id)


def chunks(tokenizer: Any, prompt: str) -> Chunks:
    """A prompt in chunks. Lists of words (the starter's) have no weights, and one chunk: the rest is cut off."""
    length = tokenizer.model_max_length
    if not spells_words(tokenizer):
        ids = tokenizer(
            [plain_text(prompt)],
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return Chunks(ids, torch.ones(ids.shape))
    vectors = _vectors(tokenizer)
    runs: list[list[_Unit]] = []
    for section in sections(prompt):
        units: list[_Unit] = []
        for text, weight in section:
            ids = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
            units += [_Unit(vectors.get(one, (one,)), weight) for one in ids]
        runs += _cut(units, length - 2, _comma(tokenizer)) if units or not runs else []
    start, end, padding = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    all_ids, all_weights = [], []
    for run in runs:
        ids = [start, *(one for unit in run for one in unit.ids), end]
        weights = [1.0, *(unit.weight for unit in run for _ in unit.ids), 1.0]
        all_ids.append(ids + [padding] * (length - len(ids)))
        all_weights.append(weights + [1.0] * (length - len(ids)))
    return Chunks(torch.tensor(all_ids), torch.tensor(all_weights))


def _cut(units: Iterable[_Unit], room: int, comma: int | None) -> list[list[_Unit]]:
    """Runs of at most ``room`` tokens, at least one."""
    runs: list[list[_Unit]] = [[]]
    for unit in units:
        run = runs[-1]
        length = sum(len(one.ids) for one in run)
        if length + len(unit.ids) > room:
            commas = [i for i, one in enumerate(run) if one.ids == (comma,)]
            behind = sum(len(one.ids) for one in run[commas[-1] :]) if commas else length
            at_comma = bool(commas) and unit.ids != (comma,) and behind <= _BACKTRACK
            place = commas[-1] + 1 if at_comma else len(run)
            runs[-1], rest = run[:place], run[place:]
            runs.append(rest)
        runs[-1].append(unit)
    return runs


def _comma(tokenizer: Any) -> int | None:
    found = tokenizer(",", add_special_tokens=False).input_ids
    return found[0] if len(found) == 1 and found[0] != tokenizer.unk_token_id else None


def _vectors(tokenizer: Any) -> dict[int, tuple[int, ...]]:
    """{id of an added token: its own and those of its further vectors}, which diffusers calls token_1, token_2, ..."""
    added = tokenizer.added_tokens_encoder
    found = {}
    for name, first in added.items():
        further = []
        while (more := added.get(f"{name}_{len(further) + 1}")) is not None:
            further.append(more)
        if further and not re.search(r"_\d+$", name):
            found[first] = (first, *further)
    return found


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
    """What each of a model's encoders says of the same prompts, read by its own tokenizer.

    All prompts take as many chunks as the longest; the others go on with chunks of nothing.
    """
    read = [[chunks(tokenizer, prompt) for prompt in prompts] for tokenizer in tokenizers]
    count = max(len(one.ids) for of_prompts in read for one in of_prompts)
    said = []
    for tokenizer, encoder, of_prompts in zip(tokenizers, encoders, read, strict=True):
        filled = [_filled(one, count, tokenizer) for one in of_prompts]
        ids, weights = (torch.cat(parts) for parts in zip(*filled, strict=True))
        features = clip_features(encoder, ids)
        last, penultimate = (
            _weighted(one, weights).unflatten(0, (-1, count)).flatten(1, 2) for one in features[:2]
        )
        said.append(ClipFeatures(last, penultimate, features.pooled[::count]))
    return said


def _filled(read: Chunks, count: int, tokenizer: Any) -> Chunks:
    if len(read.ids) == count:
        return read
    nothing = chunks(tokenizer, "")
    return Chunks(*(torch.cat([a, *[b] * (count - len(a))]) for a, b in zip(read, nothing, strict=True)))


def _weighted(features: Tensor, weights: Tensor) -> Tensor:
    """Features [N, T, C] times weights [N, T], each chunk with the mean that it had."""
    weights = weights.to(features)
    changed = features * weights[:, :, None]
    before, after = (one.double().mean((1, 2)) for one in (features, changed))
    # Where the mean is nothing but rounding there is none to restore.
    noise = 1e-6 * features.double().std((1, 2))
    meant = (before.abs() > noise) & (after.abs() > noise)
    factor = torch.where(meant, before / after, 1.0).to(features)
    plain = (weights == 1).all(1)
    return torch.where(plain[:, None, None], features, changed * factor[:, None, None])


def zeroed_where_empty(features: Tensor, prompts: Sequence[str]) -> Tensor:
    """Features [B, ...] with zeros for every empty prompt."""
    kept = torch.tensor([float(bool(prompt)) for prompt in prompts]).to(features)
    return features * kept.view(-1, *[1] * (features.ndim - 1))
