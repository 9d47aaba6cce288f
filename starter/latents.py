"""Latents and captions of a training set, encoded once: a training that reads them needs no codec and no tokenizer.

One safetensors file for each shard of pictures, so that a set that grows costs only what is new:

    latents [n, k, h, w] float16, tokens [n, MAX_TOKENS] int16

``draws`` of each picture, every one over a background of its own and with a caption of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from ..configs.atomic import write_safetensors
from ..systems.models.latent_spaces import latent_space_of
from .batches import composite, random_backgrounds, wording
from .dataset import load_shard
from .text import tokens

_BATCH = 128


def load_codec(folder: Path) -> Any:
    """The codec in a folder, of whichever kind it is, frozen."""
    from ..configs.atomic import read_json_object
    from ..systems.models.learned_codec import LearnedCodec
    from ..systems.models.patch_codec import PatchCodec

    kinds = {kind.__name__: kind for kind in (LearnedCodec, PatchCodec)}
    kind = kinds[read_json_object(folder / "config.json", "the config of a codec")["_class_name"]]
    return kind.from_pretrained(folder, torch_dtype=torch.float32).requires_grad_(False).eval()


def cache_latents(
    shards: Path,
    codec: Any,
    words: PreTrainedTokenizerFast,
    out: Path,
    *,
    device: str = "cpu",
    draws: int = 2,
) -> Path:
    """Encode what is missing; returns the folder below ``out`` that belongs to the codec's latent space."""
    folder = out / latent_space_of(codec)
    folder.mkdir(parents=True, exist_ok=True)
    codec = codec.to(device)
    for path in sorted(shards.glob("shard_*.safetensors")):
        if not (folder / path.name).exists():
            write_safetensors(folder / path.name, _encoded(path, codec, words, device, draws))
    return folder


@torch.no_grad()
def _encoded(
    path: Path, codec: Any, words: PreTrainedTokenizerFast, device: str, draws: int
) -> dict[str, Tensor]:
    arrays, info = load_shard(path)
    rng = np.random.default_rng([int(path.stem.split("_")[1]), draws])
    latents, captions = [], []
    rows = np.tile(np.arange(len(arrays["rgba"])), draws)
    for some in np.array_split(rows, max(1, len(rows) // _BATCH)):
        backgrounds, slopes = random_backgrounds(rng, len(some))
        pictures = torch.from_numpy(composite(arrays["rgba"][some], backgrounds, slopes)).to(device)
        latents.append(codec.encode(pictures).latents.to("cpu", torch.float16))
        captions += [
            wording(arrays, info, int(row), background, rng)
            for row, background in zip(some, backgrounds, strict=True)
        ]
    return {"latents": torch.cat(latents), "tokens": tokens(words, captions).to(torch.int16)}


class Latents:
    """All cached latents of a folder, on a device."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        parts = [load_file(path, device=device) for path in sorted(folder.glob("shard_*.safetensors"))]
        self.latents, self.tokens = (
            torch.cat([part[key] for part in parts]) for key in ("latents", "tokens")
        )

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """latents [B, k, h, w] float32 and token ids [B, MAX_TOKENS]."""
        rows = torch.randint(len(self.latents), (batch,), generator=generator).to(self.latents.device)
        return self.latents[rows].float(), self.tokens[rows].long()
