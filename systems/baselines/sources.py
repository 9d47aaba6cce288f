"""Latents of a fixed set of pictures in one file, and what the network is told beside each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ...configs.atomic import write_safetensors
from ...guidance.conditioning import Condition, Conditioning
from ..models.base import Base


@torch.no_grad()
def write_latents(path: Path, base: Base, pictures: Iterable[Tensor], rows: Tensor) -> int:
    """Encode pictures once, and mirrored: latents [2 N, C, h, w] float16 and their rows [2 N].

    Args:
        pictures: some at a time, [B, 3, S, S] uint8; N in all.
        rows: [N].
    Returns: N.
    """
    made: list[Tensor] = []
    for some in pictures:
        for shown in (some, some.flip(-1)):
            made.append(base.encode(shown.to(base.device).float() / 255).to("cpu", torch.float16))
    write_safetensors(path, {"latents": torch.cat([*made[::2], *made[1::2]]), "rows": rows.repeat(2)})
    return len(rows)


@dataclass(frozen=True)
class LatentFile:
    """A ``domain.sources.LatentSource`` of what ``write_latents`` wrote.

    Attributes:
        told: what is said: one row for all pictures, or one for each number in the file's ``rows`` and, last, nothing.
        dropped: share of the pictures beside which nothing is said, as classifier-free guidance wants.
    """

    path: Path
    told: Conditioning
    dropped: float = 0.0

    def open(self, device: str) -> OpenFile:
        """Read into main memory."""
        held = load_file(self.path)
        return OpenFile(self, held["latents"], held["rows"], device)


@dataclass(frozen=True)
class OpenFile:
    """Latents [N, C, h, w] and their rows [N] in memory."""

    source: LatentFile
    latents: Tensor
    rows: Tensor
    device: str

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Condition]:
        """See ``domain.sources.Batches``."""
        places = torch.randint(len(self.latents), (batch,), generator=generator)
        latents = self.latents[places].float().to(self.device)
        told = self.source.told
        values = told.text if told.labels is None else told.labels
        if values is None or len(values) == 1:
            return latents, told
        silent = torch.rand(batch, generator=generator) < self.source.dropped
        rows = torch.where(silent, len(values) - 1, self.rows[places])
        return latents, Conditioning(
            text=None if told.text is None else told.text[rows],
            labels=None if told.labels is None else told.labels[rows],
        )
