"""Train the starter's image-to-3D network on rendered objects whose solid is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..guidance.noise import generator_on
from ..systems.compiled import compiled
from ..systems.lift.starter import LiftNetwork
from ..systems.training.loop import Budget, train
from .batches import DEVICE_PICTURES
from .dataset import load_shards

RESOLUTION = 64
COLOUR_POINTS = 1024
ELEVATIONS_RAD = (math.radians(4), math.radians(30))


class Solids:
    """Pictures with the solid and the surface colours that they show, turned to face the picture."""

    def __init__(self, folders: tuple[Path, ...], most: int | None = None) -> None:
        self.folders, self.most = folders, most
        keys = ("rgba", "azimuth_rad", "elevation_rad", "object", "noun", "occupancy", "points", "albedo")
        self.parts = [load_shards(folder, keys, most=most) for folder in folders]
        self.rows = [
            (part, int(row))
            for part, (arrays, _) in enumerate(self.parts)
            for row in np.flatnonzero(
                (arrays["elevation_rad"] >= ELEVATIONS_RAD[0])
                & (arrays["elevation_rad"] <= ELEVATIONS_RAD[1])
            )
        ]

    def __reduce__(self) -> tuple[type[Solids], tuple[tuple[Path, ...], int | None]]:
        """Workers open the shards themselves."""
        return Solids, (self.folders, self.most)

    def example(self, part: int, row: int, points: np.ndarray) -> tuple[np.ndarray, ...]:
        """rgba [S, S, 4], occupancy [R, R, R], both uint8; cell indices [P] and albedo [P, 3] of surface points."""
        arrays, _ = self.parts[part]
        owner, azimuth = int(arrays["object"][row]), float(arrays["azimuth_rad"][row])
        solid = np.unpackbits(arrays["occupancy"][owner]).reshape(RESOLUTION, RESOLUTION, RESOLUTION)
        cosine, sine = math.cos(azimuth), math.sin(azimuth)
        chosen = arrays["points"][owner][points].astype(np.float32)
        # The camera at azimuth a sees the object as the front camera sees it turned by -a about +Z.
        turned = np.stack(
            [
                cosine * chosen[:, 0] + sine * chosen[:, 1],
                cosine * chosen[:, 1] - sine * chosen[:, 0],
                chosen[:, 2],
            ],
            1,
        )
        cells = ((turned + 1) * (RESOLUTION / 2)).astype(np.int64).clip(0, RESOLUTION - 1)
        flat = (cells[:, 0] * RESOLUTION + cells[:, 1]) * RESOLUTION + cells[:, 2]
        return arrays["rgba"][row], turn_grid(solid, cosine, sine), flat, arrays["albedo"][owner][points]

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """pictures [B, 4, S, S] in [0, 1], occupancy [B, R, R, R], cells [B, P], colours [B, P, 3] in [0, 1]."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        points = rng.integers(0, self.parts[0][0]["points"].shape[1], COLOUR_POINTS)
        chosen = [self.rows[int(i)] for i in rng.integers(0, len(self.rows), batch)]
        rgba, solid, cells, albedo = (
            np.stack(a) for a in zip(*(self.example(*c, points) for c in chosen), strict=True)
        )
        pictures = torch.from_numpy(rgba.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        return (
            pictures,
            torch.from_numpy(solid).float(),
            torch.from_numpy(cells),
            torch.from_numpy(albedo).float() / 255,
        )


class DeviceSolids:
    """The same on a GPU, which would wait for a CPU that turns grids: all arrays of ``Solids`` lie in its memory."""

    def __init__(self, solids: Solids, device: str) -> None:
        self.device, self.rows = device, solids.rows
        keys = ("rgba", "azimuth_rad", "object", "occupancy", "points", "albedo")
        self.parts = [
            {key: torch.from_numpy(arrays[key]).to(device) for key in keys} for arrays, _ in solids.parts
        ]

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """As ``Solids.draw``, on the device: every set of shards gives its share."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        points = torch.from_numpy(rng.integers(0, self.parts[0]["points"].shape[1], COLOUR_POINTS))
        chosen = np.array([self.rows[int(i)] for i in rng.integers(0, len(self.rows), batch)])
        drawn = [
            self.examples(arrays, torch.from_numpy(chosen[chosen[:, 0] == part, 1]), points)
            for part, arrays in enumerate(self.parts)
        ]
        pictures, solid, cells, albedo = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        return pictures.permute(0, 3, 1, 2).float() / 255, solid.float(), cells, albedo.float() / 255

    def examples(self, arrays: dict[str, Tensor], rows: Tensor, points: Tensor) -> tuple[Tensor, ...]:
        """``Solids.example`` of rows [B], stacked."""
        rows, points = rows.to(self.device), points.to(self.device)
        owner, azimuth = arrays["object"][rows].long(), arrays["azimuth_rad"][rows].double()
        cosine, sine = azimuth.cos(), azimuth.sin()
        x, y, z = arrays["points"][owner][:, points].double().unbind(-1)
        turn = cosine[:, None], sine[:, None]
        turned = torch.stack([turn[0] * x + turn[1] * y, turn[0] * y - turn[1] * x, z], -1)
        cells = ((turned + 1) * (RESOLUTION / 2)).long().clamp(0, RESOLUTION - 1)
        flat = (cells[..., 0] * RESOLUTION + cells[..., 1]) * RESOLUTION + cells[..., 2]
        bits = arrays["occupancy"][owner][..., None] >> torch.arange(7, -1, -1, device=self.device)
        solid = (bits & 1).view(-1, RESOLUTION, RESOLUTION, RESOLUTION)
        return arrays["rgba"][rows], turn_grids(solid, cosine, sine), flat, arrays["albedo"][owner][:, points]


def turn_grids(solid: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """``turn_grid`` of many grids [B, R, R, R], each by its own angle [B]."""
    size, batch = solid.shape[-1], torch.arange(len(solid), device=solid.device)
    middle = (torch.arange(size, device=solid.device, dtype=torch.float64) + 0.5) * 2 / size - 1
    x, y = middle[None, :, None], middle[None, None, :]
    cosine, sine = cosine[:, None, None], sine[:, None, None]
    a = ((cosine * x - sine * y + 1) * size / 2).floor().long()
    b = ((sine * x + cosine * y + 1) * size / 2).floor().long()
    inside = (a >= 0) & (a < size) & (b >= 0) & (b < size)
    found = solid[batch[:, None, None], a.clamp(0, size - 1), b.clamp(0, size - 1)]
    return found * inside[..., None]


@compiled()
def turn_grid(solid: np.ndarray, cosine: float, sine: float) -> np.ndarray:
    """The grid [x, y, z] of the object turned by -azimuth about +Z, nearest cell."""
    size = solid.shape[0]
    out = np.zeros_like(solid)
    for i in range(size):
        x = (i + 0.5) * 2 / size - 1
        for j in range(size):
            y = (j + 0.5) * 2 / size - 1
            a = math.floor((cosine * x - sine * y + 1) * size / 2)
            b = math.floor((sine * x + cosine * y + 1) * size / 2)
            if 0 <= a < size and 0 <= b < size:
                out[i, j] = solid[a, b]
    return out


@dataclass
class LiftTask:
    """Occupancy by cross-entropy and soft IoU, colour at surface points; see ``training.Task``."""

    solids: Solids

    def modules(self) -> dict[str, nn.Module]:
        """The network, seeded."""
        torch.manual_seed(0)
        return {"lift": LiftNetwork(resolution=RESOLUTION)}

    def open(self, modules: Mapping[str, nn.Module], device: str) -> None:
        """Make ready in this process."""
        self._network: Any = modules["lift"]
        self._device = device
        self._solids = (
            self.solids if torch.device(device).type == "cpu" else DeviceSolids(self.solids, device)
        )

    def loss(self, batch: int, generator: torch.Generator) -> Tensor:
        """Soft IoU keeps thin legs and handles from drowning in the mean over all cells."""
        pictures, *truth = self._solids.draw(batch, generator)
        solid, cells, colours = (part.to(self._device) for part in truth)
        logits, rgb = self._network(
            disturb(pictures.to(self._device), generator).to(
                self._network.dtype, memory_format=torch.channels_last
            )
        )
        logits = logits.float()
        entropy = F.binary_cross_entropy_with_logits(logits, solid)
        probability = logits.sigmoid()
        both = (probability * solid).sum((1, 2, 3))
        either = probability.sum((1, 2, 3)) + solid.sum((1, 2, 3)) - both
        seen = rgb.flatten(1, 3).gather(1, cells[..., None].expand(-1, -1, 3)).float()
        return 4 * entropy + (1 - (both + 1) / (either + 1)).mean() + (seen - colours).abs().mean()


def disturb(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Make half of the pictures look generated: soft, a little noisy, with a ragged coverage."""
    batch = len(pictures)
    blurred = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    drawn = generator_on(pictures.device, generator)
    noisy = blurred + 0.03 * torch.randn(pictures.shape, generator=drawn, device=pictures.device)
    some = (torch.rand(batch, generator=drawn, device=pictures.device) < 0.5).view(-1, 1, 1, 1)
    return torch.where(some, noisy, pictures).clamp(0, 1)


@torch.no_grad()
def evaluate_lift(network: nn.Module, folder: Path, pottery: frozenset[str]) -> dict[str, float]:
    """Volume IoU at one half on each object's canonical picture: per noun, the mean over nouns and over pottery."""
    solids = Solids((folder,))
    arrays, info = solids.parts[0]
    views = info["recipe"]["views"]
    scores: dict[str, list[float]] = {}
    for owner in range(len(arrays["noun"])):
        rgba, solid, _, _ = solids.example(0, owner * views, np.arange(1))
        picture = torch.from_numpy(rgba.transpose(2, 0, 1).astype(np.float32) / 255)[None]
        guess = network(picture.to(next(network.parameters()).dtype))[0][0].float() > 0
        truth = torch.from_numpy(solid).bool()
        iou = float((guess & truth).sum() / (guess | truth).sum().clamp_min(1))
        scores.setdefault(info["nouns"][int(arrays["noun"][owner])], []).append(iou)
    nouns = {noun: float(np.mean(values)) for noun, values in sorted(scores.items())}
    vessels = [value for noun, value in nouns.items() if noun in pottery]
    return {"mean": float(np.mean(list(nouns.values()))), "pottery": float(np.mean(vessels)), **nouns}


def train_lift(folders: tuple[Path, ...], work: Path, out: Path, budget: Budget) -> LiftNetwork:
    """Train (or go on training) and write the network's folder, float16."""
    most = None if budget.device == "cpu" else DEVICE_PICTURES
    network = train(LiftTask(Solids(folders, most)), work, budget, label="lift")["lift"]
    assert isinstance(network, LiftNetwork)
    network.half().save_pretrained(out)
    return network.float()
