"""Pictures that spatial control follows: edges found in a picture, or maps of depth and normals given as files.

Edges are Canny's, on 8-bit values and at the size of the model's pictures, as ControlNet's own annotators find them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from scipy import ndimage
from torch import Tensor

from ...configs.errors import BadInput
from ...configs.names import unknown_name

_GREY = (128, 128, 128, 255)
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def canny(picture: np.ndarray, low: float = 100, high: float = 200) -> np.ndarray:
    """Edges of a picture [H, W, 3] (sRGB in [0, 1]): [H, W] float32, 1 on them and 0 elsewhere.

    Args:
        low, high: thresholds on the sum of the absolute Sobel gradients of 8-bit values, of the channel where it is
            largest; an edge above ``high`` is followed down to ``low``.
    Raises: ValueError for another shape.
    """
    import cv2

    if picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"canny expects a picture [H, W, 3], not {picture.shape}.")
    levels = (picture * 255 + 0.5).clip(0, 255).astype(np.uint8)
    return (cv2.Canny(levels, low, high) > 0).astype(np.float32)


def edge_f1(made: np.ndarray, wanted: np.ndarray, *, tolerance: int = 1) -> float:
    """F1 of edge maps [H, W]: an edge pixel is right when the other map has one within ``tolerance`` pixels.

    1 when neither has edges, 0 when only one has.
    """
    made, wanted = made > 0, wanted > 0
    if not made.any() or not wanted.any():
        return float(not made.any() and not wanted.any())
    near = np.ones((2 * tolerance + 1, 2 * tolerance + 1), bool)
    precision = float(ndimage.binary_dilation(wanted, near)[made].mean())
    recall = float(ndimage.binary_dilation(made, near)[wanted].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _edges(rgb: np.ndarray) -> np.ndarray:
    return np.repeat(canny(rgb)[..., None], 3, axis=2)


def _as_given(rgb: np.ndarray) -> np.ndarray:
    return rgb


CONTROLS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "canny": _edges,
    "depth": _as_given,
    "normal": _as_given,
}
"""What is made of the picture [H, W, 3] in [0, 1] that a user gives, for each kind of control; the same shape."""


def control_picture(kind: str, picture: Path | str | Image.Image, size: int) -> Tensor:
    """What a ControlNet of one kind sees, [1, 3, size, size] in [0, 1].

    Args:
        kind: 'canny' finds edges in an ordinary picture; 'depth' and 'normal' take a map as it is.
        picture: a file, or what PIL made of one. Transparent parts are put over grey, single channels are repeated,
            16-bit greys keep their depth; the middle square is scaled without ringing.
        size: pixels along each side.
    Raises:
        BadInput: an unknown kind, a picture that cannot be read, or one of floating-point numbers.
    """
    if kind not in CONTROLS:
        raise unknown_name("control", kind, CONTROLS)
    opened = picture if isinstance(picture, Image.Image) else read_image(Path(picture))
    flat = without_transparency(ImageOps.exif_transpose(opened))
    square = ImageOps.fit(flat, (size, size), Image.Resampling.BILINEAR)
    rgb = np.asarray(square, np.float32) / (65535 if square.mode == "F" else 255)
    if rgb.ndim == 2:
        rgb = np.repeat(rgb[..., None], 3, axis=2)
    drawn = CONTROLS[kind](rgb.clip(0, 1))
    return torch.from_numpy(np.ascontiguousarray(drawn.transpose(2, 0, 1)))[None]


def read_image(path: Path) -> Image.Image:
    """A picture file as PIL reads it, all of it.

    Raises: BadInput when it is missing, no picture, or damaged.
    """
    if not path.is_file():
        raise BadInput(f"there is no picture {path}; give the path of a PNG or JPEG file")
    refusals = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # PIL's, by file format
    try:
        with Image.open(path) as opened:
            opened.load()
            return opened
    except refusals as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{path} is no picture that can be read ({reason}); save it as PNG or JPEG") from error


def without_transparency(picture: Image.Image) -> Image.Image:
    """RGB over grey; 16-bit greys as floats in [0, 65535] (mode F), which PIL scales without losing them.

    Raises: BadInput for a picture of floats, whose range nobody knows.
    """
    if picture.mode in _SIXTEEN_BITS:
        return picture.convert("F")
    if picture.mode == "F":
        raise BadInput("the picture holds floating-point numbers of unknown range; save it with 8 or 16 bits")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    ground = Image.new("RGBA", picture.size, _GREY)
    return Image.alpha_composite(ground, picture.convert("RGBA")).convert("RGB")
