"""Pictures of any shape as squares, or as rectangles of about one area: cropped, padded, or sorted into buckets."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .files import Size, as_rgb, read_image, sides

ASPECTS = ("crop", "pad", "bucket")
_WIDEST = 2.0
_GREY = (128, 128, 128)


def frame_of(size: tuple[int, int], square: int, aspect: str, cell: int) -> tuple[int, int]:
    """(height, width) in pixels of what a picture of (height, width) becomes.

    A bucket has sides of whole cells, at most the square's area, and the shape nearest to the picture's, up to 2 : 1.

    Args: cell: what sides must be multiples of.
    """
    if aspect != "bucket":
        return square, square
    step = cell * max(1, square // (16 * cell))  # about 16 steps along a side, so that buckets are few
    ratio = min(max(size[1] / size[0], 1 / _WIDEST), _WIDEST)
    heights = range(step, int(square * math.sqrt(_WIDEST)) + step, step)
    frames = [(h, w) for h in heights if (w := int(square * square / h) // step * step) >= step]
    frames = [(h, w) for h, w in frames if 1 / _WIDEST <= w / h <= _WIDEST]
    return min(frames, key=lambda one: abs(math.log(one[1] / one[0] / ratio)), default=(square, square))


def read_framed(path: Path, frame: Size, aspect: str, ground: tuple[int, int, int] = _GREY) -> Tensor:
    """A picture file in its frame, [3, H, W] in [0, 1]; transparent parts over a ground.

    Padding has the mean colour of the picture's own border.

    Raises: BadInput when it cannot be read any more.
    """
    picture, (height, width) = as_rgb(read_image(path), (*ground, 255)), sides(frame)
    if aspect == "pad":
        border = np.asarray(picture)
        border = np.concatenate([border[0], border[-1], border[:, 0], border[:, -1]]).mean(0)
        inside = ImageOps.contain(picture, (width, height), Image.Resampling.LANCZOS)
        framed = Image.new("RGB", (width, height), tuple(round(float(one)) for one in border))
        framed.paste(inside, ((width - inside.width) // 2, (height - inside.height) // 2))
    else:
        framed = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(framed)).permute(2, 0, 1).float() / 255


def grounds_of(content: str, count: int) -> list[tuple[int, int, int]]:
    """Plain grounds for a transparent picture: grey, and then colours that its content throws.

    A model that has seen one ground only lets its objects melt into it.
    """
    thrown = hashlib.sha256(content.encode()).digest()
    colours = [(thrown[3 * i], thrown[3 * i + 1], thrown[3 * i + 2]) for i in range(min(count - 1, 10))]
    return [_GREY, *colours]
