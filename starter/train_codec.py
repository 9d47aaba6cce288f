"""Fit the patch codec: the projection in closed form, then its small decoder by gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..systems.patch_codec import PatchCodec
from ..systems.training import Budget, train
from .batches import Pictures

FIT_PICTURES = 3000


@dataclass
class CodecTask:
    """Reconstruction of pictures of the prior's and the domain's shards; see ``training.Task``."""

    shards: tuple[Path, ...]

    def modules(self) -> dict[str, nn.Module]:
        """A codec whose projection is already fitted; only the decoder is trained."""
        torch.manual_seed(0)
        codec = PatchCodec()
        generator = torch.Generator().manual_seed(1)
        each = FIT_PICTURES // len(self.shards)
        codec.fit(torch.cat([Pictures(folder).draw(each, generator)[0] for folder in self.shards]))
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
        decoded = self._codec.decode(latents.bfloat16()).sample.float()  # pyright: ignore
        return ((decoded - pictures).square() + 1e-4).sqrt().mean()


def train_codec(shards: tuple[Path, ...], work: Path, out: Path, budget: Budget) -> float:
    """Train and write the codec; returns its PSNR in dB on pictures that it was not fitted to."""
    task = CodecTask(shards)
    codec = train(task, work, budget, label="codec")["codec"]
    assert isinstance(codec, PatchCodec)
    for name, buffer in task.projection.items():
        getattr(codec, name).copy_(buffer)
    codec.save_pretrained(out)
    pictures = torch.cat(
        [Pictures(folder).draw(64, torch.Generator().manual_seed(2))[0] for folder in shards]
    )
    with torch.no_grad():
        error = (codec(pictures).clamp(-1, 1) - pictures).square().mean()
    return float(10 * torch.log10(4 / error))
