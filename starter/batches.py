"""Training pictures: rendered objects over varied plain backgrounds, with captions in the generator's words."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..systems.compiled import compiled
from .dataset import load_shards
from .generator.captions import BACKGROUNDS, random_caption

CAPTION_DROPOUT = 0.10
DEVICE_PICTURES = 65_536  # 4.3 GB


class Pictures:
    """Random access to rendered pictures: composites and captions are drawn afresh each time.

    Backgrounds vary because score distillation renders over many: a model that has seen one ground only would let the
    object melt into it.

    Args: folder: shards; materials: whether captions may name the material.
    """

    def __init__(self, folder: Path, *, materials: bool = True, most: int | None = None) -> None:
        self.folder, self.materials = folder, materials
        keys = ("rgba", "azimuth_rad", "elevation_rad", "object", "noun", "material")
        self.arrays, self.info = load_shards(folder, keys, most=most)
        self.rgba: np.ndarray = self.arrays["rgba"]

    def __reduce__(self) -> Any:
        """Workers open the shards themselves: pictures are not sent between processes."""
        return functools.partial(Pictures, materials=self.materials), (self.folder,)

    def __len__(self) -> int:
        return len(self.rgba)

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
        """rgb [B, 3, S, S] float32 in [-1, 1] and one caption each (empty for ``CAPTION_DROPOUT`` of them)."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        rows = np.sort(rng.integers(0, len(self), batch))
        grounds, slopes = random_backgrounds(rng, batch)
        pictures = self.composites(rows, grounds, slopes)
        captions = [self.caption(int(row), ground, rng) for row, ground in zip(rows, grounds, strict=True)]
        return pictures, captions

    def composites(self, rows: np.ndarray, grounds: np.ndarray, slopes: np.ndarray) -> Tensor:
        """The pictures of some rows [B] over grounds [B, 3] in [0, 255] with slopes [B]: [B, 3, S, S] in [-1, 1]."""
        return torch.from_numpy(composite(np.stack([self.rgba[row] for row in rows]), grounds, slopes))

    def draw_pictures(self, batch: int, generator: torch.Generator) -> Tensor:
        """Pictures alone, for domains: no caption is even looked up by the training."""
        return self.draw(batch, generator)[0]

    def caption(self, row: int, ground: np.ndarray, rng: np.random.Generator) -> str:
        """A wording for one picture over one ground [3] in [0, 255], or none for ``CAPTION_DROPOUT`` of them."""
        return "" if rng.random() < CAPTION_DROPOUT else self.wording(row, ground, rng)

    def wording(self, row: int, ground: np.ndarray, rng: np.random.Generator) -> str:
        """A wording for one picture over one ground [3] in [0, 255]."""
        return wording(self.arrays, self.info, row, ground, rng, materials=self.materials)


def wording(
    arrays: Mapping[str, np.ndarray],
    info: Mapping[str, Any],
    row: int,
    ground: np.ndarray,
    rng: np.random.Generator,
    *,
    materials: bool = True,
) -> str:
    """A wording for picture ``row`` of a set of shards over one ground [3] in [0, 255]."""
    owner = int(arrays["object"][row])
    return random_caption(
        rng,
        info["nouns"][int(arrays["noun"][owner])],
        info["materials"][int(arrays["material"][owner])] if materials else "",
        float(np.degrees(arrays["azimuth_rad"][row])),
        float(np.degrees(arrays["elevation_rad"][row])),
        ground,
    )


class DevicePictures(Pictures):
    """The same on a GPU, which would wait for a CPU that composites: pictures lie in its memory, 64 kB each.

    ``DEVICE_PICTURES`` of them at most, evenly picked among the shards.
    """

    def __init__(self, folder: Path, *, materials: bool = True, device: str) -> None:
        super().__init__(folder, materials=materials, most=DEVICE_PICTURES)
        self.held = torch.from_numpy(self.rgba).to(device)

    def __reduce__(self) -> Any:
        raise TypeError("pictures on a device belong to one process; open the folder in the other one")

    def composites(self, rows: np.ndarray, grounds: np.ndarray, slopes: np.ndarray) -> Tensor:
        """As ``Pictures.composites``, on the device."""
        chosen = self.held[torch.from_numpy(rows).to(self.held.device)].permute(0, 3, 1, 2).float()
        height = torch.linspace(-1, 1, chosen.shape[2], device=chosen.device).view(1, 1, -1, 1)
        ground, slope = (torch.from_numpy(a).to(chosen.device) for a in (grounds, slopes))
        shaded = (ground[:, :, None, None] + slope[:, None, None, None] * height).clamp(0, 255)
        alpha = chosen[:, 3:] / 255
        return torch.lerp(shaded, chosen[:, :3], alpha) / 127.5 - 1


def open_pictures(folder: Path, device: str = "cpu", *, materials: bool = True) -> Pictures:
    """Pictures for a training on a device."""
    if torch.device(device).type == "cpu":
        return Pictures(folder, materials=materials)
    return DevicePictures(folder, materials=materials, device=device)


def random_backgrounds(rng: np.random.Generator, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Plain or gently graded grounds: colour [B, 3] in [0, 255] at mid height, change towards top and bottom [B]."""
    named = np.array(list(BACKGROUNDS.values()), np.float32)[rng.integers(len(BACKGROUNDS), size=batch)]
    plain = named + rng.normal(0, 5, (batch, 3))
    colours = np.where(rng.random((batch, 1)) < 0.75, plain, rng.uniform(10, 250, (batch, 3)))
    slopes = np.where(rng.random(batch) < 0.3, rng.normal(0, 12, batch), 0.0)
    return colours.clip(0, 255).astype(np.float32), slopes.astype(np.float32)


@compiled()
def composite(rgba: np.ndarray, grounds: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """uint8 RGBA [B, S, S, 4] over grounds [B, 3] in [0, 255] with slopes [B]: float32 [B, 3, S, S] in [-1, 1]."""
    batch, size = rgba.shape[0], rgba.shape[1]
    out = np.empty((batch, 3, size, size), np.float32)
    for b in range(batch):
        for y in range(size):
            shade = slopes[b] * (2 * y / (size - 1) - 1)
            for x in range(size):
                alpha = rgba[b, y, x, 3] / np.float32(255)
                for c in range(3):
                    ground = min(max(grounds[b, c] + shade, 0.0), 255.0)
                    value = rgba[b, y, x, c] * alpha + ground * (1 - alpha)
                    out[b, c, y, x] = value / np.float32(127.5) - 1
    return out
