"""Pictures on a surface, as the writers need them."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from ...systems.types import Mesh
from .preview import CLAY

CLAY_LINEAR = tuple(round(((c + 0.055) / 1.055) ** 2.4, 4) for c in CLAY)
"""Colour of a mesh without texture in linear light, as glTF and USD read a factor; ``CLAY`` is far from sRGB's toe."""


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of [H, W] or [H, W, 3] uint8; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def map_files(mesh: Mesh) -> dict[str, bytes]:
    """PNG files of the mesh's maps ("texture", "normal_map", "orm"), those that it has; none for a mesh without uv.

    Each in a thread of its own: compressing takes most of an export's time and does not hold Python's lock.
    """
    if mesh.uv is None:
        return {}
    names = ("texture", "normal_map", "orm")
    maps = {name: pixels for name in names if (pixels := getattr(mesh, name)) is not None}
    with ThreadPoolExecutor() as pool:
        return dict(zip(maps, pool.map(png, maps.values()), strict=True))
