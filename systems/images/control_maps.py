"""Pictures that spatial control follows: maps of edges, depth and so on, given as files or found in a picture.

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

from ...configs.errors import BadInput
from ...configs.names import unknown_name
from ...configs.paths import given_path
from .depth import depth_by
from .drawn_lines import lineart, scribble, soft_edges
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


def _three(found: np.ndarray) -> np.ndarray:
    return np.repeat(found[..., None], 3, axis=2)


FINDERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "canny": canny,
    "lineart": lineart,
    "scribble": scribble,
    "softedge": soft_edges,
}
"""What finds the map [H, W] of a kind in an ordinary picture [H, W, 3] without a network."""

CONTROLS = (
    "canny", "depth", "normal", "lineart", "softedge", "scribble", "openpose", "seg", "tile", "ip2p", "file",
)  # fmt: skip
"""Kinds of controls; that of canny is found in the picture unless asked otherwise, and all others are ready maps."""


def map_of(kind: str, picture: np.ndarray, find: str = "") -> np.ndarray:
    """What a ControlNet of one kind sees [H, W, 3], made of a picture of the same shape.

    Args:
        find: ``yes`` finds the map in an ordinary picture, a path does it with the network in that ONNX file (depth),
            ``no`` takes the picture for the map; empty is ``yes`` for canny and ``no`` for all others.
    Raises: BadInput for a kind of which no map is found so.
    """
    if find == "no" or (not find and kind != "canny"):
        return picture
    if find not in ("", "yes"):
        if kind != "depth":
            raise BadInput(f"find={find} names a network, and only depth is found by one, not {kind}")
        return _three(depth_by(given_path(find, "find= of a control"), picture))
    if kind == "depth":
        raise BadInput(
            "depth is found by a network; name its ONNX file, depth:photo.png:find=depth_anything.onnx"
        )
    if kind not in FINDERS:
        raise BadInput(
            f"find=yes knows {', '.join(FINDERS)}, and depth by a network, not {kind}; give a map that is ready"
        )
    return _three(FINDERS[kind](picture))


def control_picture(kind: str, picture: Path | str | Image.Image, size: Size, find: str = "") -> Tensor:
    """What a ControlNet of one kind sees, [1, 3, H, W] in [0, 1].

    Args:
        kind: of ``CONTROLS``.
        picture: a file, or what PIL made of one. Transparent parts are put over grey, single channels are repeated,
            16-bit greys keep their depth; the middle is scaled without ringing.
        size: pixels of a square, or (height, width).
        find: as in ``map_of``.
    Raises:
        BadInput: an unknown kind, a picture that cannot be read, one whose range is unknown, or a map that is not
            found so.
    """
    if kind not in CONTROLS:
        raise unknown_name("control", kind, CONTROLS)
    opened = upright(picture) if isinstance(picture, Image.Image) else read_image(Path(picture))
    drawn = map_of(kind, middle_of(opened, size, Image.Resampling.BILINEAR), find)
    return torch.from_numpy(np.ascontiguousarray(drawn.transpose(2, 0, 1)))[None]
