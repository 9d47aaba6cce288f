"""Fit the patch codec: the projection in closed form, then its small decoder by gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..systems.models.patch_codec import PatchCodec
from ..systems.training.loop import Budget, train
from .batches import Pictures

FIT_PICTURES = 3000


@dataclass
class CodecTask:
    """Reconstruction of pictures of the prior's and the domain's shards; see ``training.Task``."""

    shards: tuple[Path, ...]
    fitted: Path

    def modules(self) -> dict[str, nn.Module]:
        """The fitted codec; only its decoder is trained."""
        codec = PatchCodec.from_pretrained(self.fitted)
        self.projection = {name: buffer.clone() for name, buffer in codec.named_buffers()}
        return {"codec": codec}

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Open the pictures in this process."""
        self._codec, self._device = modules["codec"], device
        for name, buffer in self.projection.items():
            setattr(self._codec, name, buffer.to(device))  # the projection stays in float32
        self._pictures = [Pictures(folder) for folder in self.shards]

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """Charbonnier distance of the round trip."""
        source = self._pictures[int(torch.randint(len(self._pictures), (1,), generator=generator))]
        pictures = source.draw_pictures(batch, generator).to(self._device)
        with torch.no_grad():
            latents = self._codec.encode(pictures).latents  # pyright: ignore
            # Sampled latents are never quite on the data: a little noise makes the decoder forgiving.
            latents = latents + 0.03 * torch.randn(latents.shape, generator=generator).to(self._device)
        decoded = self._codec.decode(latents.to(self._codec.dtype)).sample.float()  # pyright: ignore
        return ((decoded - pictures).square() + 1e-4).sqrt().mean()


def fit_codec(shards: tuple[Path, ...], out: Path) -> None:
    """Write a codec whose projection is fitted and whose correction is still nothing."""
    torch.manual_seed(0)
    codec, generator = PatchCodec(), torch.Generator().manual_seed(1)
    each = FIT_PICTURES // len(shards)
    codec.fit(torch.cat([Pictures(folder).draw_pictures(each, generator) for folder in shards]))
    codec.save_pretrained(out)


def train_codec(shards: tuple[Path, ...], work: Path, out: Path, budget: Budget) -> float:
    """Fit, train and write the codec; returns its PSNR in dB on backgrounds that it was not trained on.

    A codec that is there already keeps its projection: everything else lives in the latents that it defines.
    """
    if not (out / "config.json").exists():
        fit_codec(shards, out)
    task = CodecTask(shards, out)
    codec = train(task, work, budget, label="codec")["codec"]
    assert isinstance(codec, PatchCodec)
    for name, buffer in task.projection.items():
        getattr(codec, name).copy_(buffer)
    codec.save_pretrained(out)
    generator = torch.Generator().manual_seed(2)
    pictures = torch.cat([Pictures(folder).draw_pictures(64, generator) for folder in shards])
    with torch.no_grad():
        error = (codec(pictures).clamp(-1, 1) - pictures).square().mean()
    return float(10 * torch.log10(4 / error))
