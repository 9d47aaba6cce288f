"""Depth of a picture by a network that the user names, an ONNX file, as ControlNets for depth know it: near is white.

Two families are fed as their authors feed them; which one a file is, its input's size says:

    depth_anything  sides that are multiples of 14, or free, then 518: ImageNet's mean and deviation
                    (github.com/DepthAnything/Depth-Anything-V2, run.py; exports of transformers)
    midas           256 x 256 or 384 x 384: pixels in [0, 1], normalised inside
                    (github.com/isl-org/MiDaS, release v2_1, tf/make_onnx_model.py)

Both say inverse depth of no known scale; it is stretched to 0 ... 1, as ControlNet's own annotator does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...configs.errors import BadInput
from .onnx_networks import DEVIATION, MEAN, asked, open_network, scaled

_FREE = 518  # pixels a side where the file leaves it open, as both versions of Depth Anything were trained
_PATCH = 14
_MIDAS = (256, 384)


def depth_by(path: Path, picture: np.ndarray) -> np.ndarray:
    """Inverse depth of a picture [H, W, 3] in [0, 1]: [H, W] float32, 0 the farthest and 1 the nearest.

    Raises:
        BadInput: onnxruntime is not installed, the file is no network of these families, or it sees no depth.
    """
    what = "depth network"
    session, shape = open_network(path, what, "find= of a control")
    height, width = (side or _FREE for side in shape)
    if height % _PATCH == 0 and width % _PATCH == 0:
        fed = (scaled(picture, (height, width)) - MEAN) / DEVIATION
    elif height == width and height in _MIDAS:
        fed = scaled(picture, (height, width))
    else:
        raise BadInput(
            f"{path} takes pictures of {width} x {height} pixels, as no depth network that is known does (Depth "
            "Anything takes multiples of 14, MiDaS 256 or 384)"
        )
    made = asked(session, fed, path, what).squeeze()
    if made.ndim != 2 or made.dtype.kind != "f" or not np.isfinite(made).all():
        raise BadInput(
            f"the depth network {path} gives {list(made.shape)} of {made.dtype}, not one depth a pixel"
        )
    low, high = float(made.min()), float(made.max())
    if not high > low:
        raise BadInput(
            f"the depth network {path} sees one depth everywhere in this picture; give another picture"
        )
    return scaled((made - low) / (high - low), picture.shape[:2]).clip(0, 1)
