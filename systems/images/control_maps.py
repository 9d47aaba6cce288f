"""Pictures that spatial control follows: edges found in a picture, or maps of depth, normals and so on given as files.

Edges are Canny's, on 8-bit values and at the size of the model's pictures, as ControlNet's own annotators find them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from ...configs.names import unknown_name
from .files import Size, middle_of, read_image, upright


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
    "lineart": _as_given,
    "softedge": _as_given,
    "scribble": _as_given,
    "openpose": _as_given,
    "seg": _as_given,
    "tile": _as_given,
    "ip2p": _as_given,
    "file": _as_given,
}
"""What is made of the picture [H, W, 3] in [0, 1] that a user gives, for each kind of control; the same shape."""


def control_picture(kind: str, picture: Path | str | Image.Image, size: Size) -> Tensor:
    """What a ControlNet of one kind sees, [1, 3, H, W] in [0, 1].

    Args:
        kind: 'canny' finds edges in an ordinary picture; all others take a map as it is.
        picture: a file, or what PIL made of one. Transparent parts are put over grey, single channels are repeated,
            16-bit greys keep their depth; the middle is scaled without ringing.
        size: pixels of a square, or (height, width).
    Raises:
        BadInput: an unknown kind, a picture that cannot be read, or one whose range is unknown.
    """
    if kind not in CONTROLS:
        raise unknown_name("control", kind, CONTROLS)
    opened = upright(picture) if isinstance(picture, Image.Image) else read_image(Path(picture))
    drawn = CONTROLS[kind](middle_of(opened, size, Image.Resampling.BILINEAR))
    return torch.from_numpy(np.ascontiguousarray(drawn.transpose(2, 0, 1)))[None]
