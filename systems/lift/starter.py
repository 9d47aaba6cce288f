"""The starter's image-to-3D network: one picture -> occupancy and colour of a 64^3 grid, in a single forward pass.

A 2-D UNet whose output channels are the depth slices of the volume: slice j of pixel column (x, z) is the cell
(x, j, z) of a grid that stands upright and faces the picture. All convolutions stay two-dimensional and cheap, and fine
parts (legs, handles, spouts) reach the volume through the skip connections at full picture resolution.

Frame: the volume is turned with the picture, so that its front (-Y) is what the picture shows; +Z is up whatever the
camera's elevation, which the network learns to undo.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from ..field.voxels import FrozenGrid
from ..models.reading import read_network
from ..models.shipped import check_hashes
from ..types import SubjectImage


class LiftNetwork(ModelMixin, ConfigMixin):
    """Pictures [B, 4, S, S] (straight RGB, alpha; in [0, 1]) -> logits [B, R, R, R], rgb [B, R, R, R, 3] (x, y, z)."""

    @register_to_config
    def __init__(
        self, resolution: int = 64, widths: tuple[int, ...] = (48, 96, 192, 256), size: int = 128
    ) -> None:
        super().__init__()
        self.resolution, self.size = resolution, size
        self.enter = nn.Conv2d(4 * (size // resolution) ** 2 + 2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Residual(w, w) for w in widths[:-1])
        self.shrink = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.middle = nn.ModuleList(
            [Residual(widths[-1], widths[-1]), Attention(widths[-1]), Residual(widths[-1], widths[-1])]
        )
        self.up = nn.ModuleList(
            Residual(below + here, here) for here, below in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.attend = Attention(widths[-2])
        self.leave = nn.Sequential(
            nn.GroupNorm(8, widths[0]), nn.SiLU(), nn.Conv2d(widths[0], 4 * resolution, 3, padding=1)
        )

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; the logit is that of the cell being solid."""
        colour, alpha = pictures[:, :3], pictures[:, 3:]
        seen = torch.cat([colour * alpha, alpha], 1)
        x = F.pixel_unshuffle(seen, seen.shape[-1] // self.resolution)
        x = self.enter(torch.cat([x, _places(x)], 1))
        skips = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x)
            skips.append(x)
            x = shrink(x)
        for block in self.middle:
            x = block(x)
        for i, block in enumerate(self.up):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(torch.cat([x, skips.pop()], 1))
            if i == 0:
                x = self.attend(x)
        # [B, 4, depth, row, column]; picture rows run downwards, z upwards.
        volume = self.leave(x).unflatten(1, (4, self.resolution)).flip(3)
        return volume[:, 0].permute(0, 3, 1, 2), volume[:, 1:].permute(0, 4, 2, 3, 1).sigmoid()


class Residual(nn.Module):
    """Two normalised 3 x 3 convolutions around a shortcut."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width_in), nn.GroupNorm(8, width_out)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        self.shortcut = nn.Identity() if width_in == width_out else nn.Conv2d(width_in, width_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width_in, H, W] -> [B, width_out, H, W]."""
        hidden = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(hidden)))


class Attention(nn.Module):
    """Self-attention over all places of a feature map, with plain matrix products (quick in bf16 on CPUs)."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, width)
        self.project = nn.Conv2d(width, 3 * width, 1)
        self.leave = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        batch, width, height, across = x.shape
        query, key, value = self.project(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).unbind(1)
        weights = (query.transpose(-1, -2) @ key * (width // self.heads) ** -0.5).softmax(-1)
        mixed = (value @ weights.transpose(-1, -2)).reshape(batch, width, height, across)
        return x + self.leave(mixed)


def _places(x: Tensor) -> Tensor:
    """Two channels with the pixel's place in [-1, 1]: depth depends on where in the picture a part is."""
    line = torch.linspace(-1, 1, x.shape[-1], device=x.device, dtype=x.dtype)
    rows, columns = torch.meshgrid(-line, line, indexing="ij")
    return torch.stack([columns, rows]).expand(len(x), -1, -1, -1)


def load_lift(folder: Path, *, device: str = "cpu") -> LiftNetwork:
    """Read a network's folder. BadInput in one sentence when it is damaged or incomplete."""
    check_hashes(folder)
    return read_network(LiftNetwork, folder, "the image-to-3D network").to(device)


@torch.no_grad()
def lift_picture(network: LiftNetwork, subject: SubjectImage, resolution: int) -> FrozenGrid:
    """The radiance field of a square cut-out picture in the common framing, ``resolution`` cells along each edge.

    On the network's device.
    """
    rgba = np.concatenate([subject.rgb, subject.alpha[..., None]], -1).astype(np.float32)
    picture = torch.from_numpy(rgba).permute(2, 0, 1)[None]
    size = network.size
    if picture.shape[-2:] != (size, size):
        picture = F.interpolate(picture, (size, size), mode="area")
    logits, rgb = network(picture.to(network.device, network.dtype))
    volume = torch.cat([logits.float().sigmoid()[:, None], rgb.float().permute(0, 4, 1, 2, 3)], 1)
    if resolution != network.resolution:
        volume = F.interpolate(volume, (resolution,) * 3, mode="trilinear", align_corners=False)
    return FrozenGrid(volume[0, 0], volume[0, 1:].permute(1, 2, 3, 0))
