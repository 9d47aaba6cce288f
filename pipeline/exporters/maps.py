"""Pictures on a surface, as the writers need them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ..preview import CLAY

CLAY_LINEAR = tuple(round(((c + 0.055) / 1.055) ** 2.4, 4) for c in CLAY)
"""Colour of a mesh without texture in linear light, as glTF and USD read a factor; ``CLAY`` is far from sRGB's toe."""


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of [H, W] or [H, W, 3] uint8; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()
