"""Reading a texture at UV coordinates without sparkle: shrunk to the picture's resolution, looked up bilinearly."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from ..compiled import compiled
from ..types import Mesh


def shrink_to_footprint(mesh: Mesh, pixels: np.ndarray) -> np.ndarray:
    """The mesh's texture averaged down by a power of two so that a texel is about as large as a pixel.

    A mip-map of one level for the whole mesh, enough since the object is far away compared to its size.
    pixels [V, 2] is where the vertices appear. The texture must be filled between the charts, or seams would show.
    """
    if mesh.uv is None or mesh.texture is None:
        raise ValueError("shrink_to_footprint needs a mesh with uv and texture")
    texture = mesh.texture
    height, width = texture.shape[:2]
    texels = _areas(mesh.uv[mesh.faces]).sum() * height * width
    # Half of a closed surface faces away, but its projection counts all the same: both sums run over all faces.
    ratio = texels / max(_areas(pixels[mesh.faces]).sum(), 1e-9)
    for _ in range(max(0, round(0.5 * math.log2(max(ratio, 1))))):
        if texture.shape[0] % 2 or texture.shape[1] % 2 or min(texture.shape[:2]) <= 16:
            break
        total = (
            texture[::2, ::2].astype(np.uint16)
            + texture[1::2, ::2]
            + texture[::2, 1::2]
            + texture[1::2, 1::2]
        )
        texture = ((total + 2) // 4).astype(np.uint8)
    return np.ascontiguousarray(texture)


def mip_level(texture: np.ndarray, level: int) -> np.ndarray:
    """A level of the mip-map of a texture [H, W, 3] uint8 as viewers make it: box means, each level half the last.

    Edges are rounded down, and never below 1.
    """
    height, width = (max(1, edge >> level) for edge in texture.shape[:2])
    return np.asarray(Image.fromarray(texture).resize((width, height), Image.Resampling.BOX))


def sample_texture(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear lookup: texture [H, W, 3] uint8, row 0 at the top, uv [N, 2], v upwards -> [N, 3] float32 in [0, 1].

    Coordinates outside [0, 1] take the border's colour.
    """
    return _sample(texture, np.ascontiguousarray(uv, np.float32))


def _areas(triangles: np.ndarray) -> np.ndarray:
    """Areas of 2-D triangles [F, 3, 2]."""
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    return 0.5 * np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


@compiled()
def _sample(texture, uv):
    height, width = texture.shape[:2]
    out = np.empty((len(uv), 3), np.float32)
    for k in range(len(uv)):
        x = min(max(uv[k, 0] * width - 0.5, 0.0), width - 1.0)
        y = min(max((1 - uv[k, 1]) * height - 0.5, 0.0), height - 1.0)
        x0, y0 = int(x), int(y)
        x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
        fx, fy = x - x0, y - y0
        for c in range(3):
            top = texture[y0, x0, c] * (1 - fx) + texture[y0, x1, c] * fx
            bottom = texture[y1, x0, c] * (1 - fx) + texture[y1, x1, c] * fx
            out[k, c] = (top * (1 - fy) + bottom * fy) / 255
    return out
