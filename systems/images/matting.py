"""Cut a subject out of any photo by a matting network that the user names, an ONNX file.

Three families are fed as their authors feed them; which one a file is, its input's size says where it can:

    u2net     320 x 320, x / max(x), then ImageNet's mean and deviation; the first output is the coverage
              (github.com/xuebinqin/U-2-Net, data_loader.ToTensorLab and u2net_test)
    isnet     1024 x 1024, x - 0.5; the first output is the coverage
              (github.com/xuebinqin/DIS, Inference.py: normalize(image, [0.5] * 3, [1.0] * 3))
    birefnet  1024 x 1024, ImageNet's mean and deviation; the last output is the coverage before its sigmoid
              (github.com/ZhengPeng7/BiRefNet, inference.py; exports that end in the sigmoid are told by their numbers)

Coverage is taken as it is. The first two families' own scripts stretch it to 0 ... 1, which finds a subject in every
picture of nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...configs.errors import BadInput, SlipcastError
from ..types import SubjectImage
from .foreground import with_alpha
from .onnx_networks import DEVIATION, MEAN, asked, open_network, scaled


@dataclass(frozen=True)
class Family:
    """How a family is fed and read.

    Attributes:
        side: pixels along each side of its input.
        feed: pixels [side, side, 3] in [0, 1] -> what the network takes, the same shape.
        output: which of its outputs is the coverage.
        logits: whether that is before its sigmoid.
    """

    side: int
    feed: Callable[[np.ndarray], np.ndarray]
    output: int = 0
    logits: bool = False


FAMILIES = {
    "u2net": Family(320, lambda rgb: (rgb / max(float(rgb.max()), 1e-6) - MEAN) / DEVIATION),
    "isnet": Family(1024, lambda rgb: rgb - 0.5),
    "birefnet": Family(1024, lambda rgb: (rgb - MEAN) / DEVIATION, output=-1, logits=True),
}


@dataclass(frozen=True)
class Matting:
    """A matting network of one of ``FAMILIES``, opened."""

    path: Path
    family: Family
    session: Any

    def coverage(self, picture: np.ndarray) -> np.ndarray:
        """How much of each pixel of a picture [H, W, 3] in [0, 1] is subject, [H, W] float32 in [0, 1].

        Raises:
            BadInput: the network gives no coverage of that shape, or numbers outside [0, 1].
        """
        side = self.family.side
        fed = self.family.feed(scaled(picture, (side, side)))
        made = asked(self.session, fed, self.path, "matting network", self.family.output)
        if made.size != side * side or made.dtype.kind != "f" or not np.isfinite(made).all():
            raise BadInput(
                f"the matting network {self.path} gives {list(made.shape)} of {made.dtype}, not the coverage of "
                f"{side} x {side} pixels; choose another image.matting_kind"
            )
        made = made.reshape(side, side).astype(np.float32)
        low, high = float(made.min()), float(made.max())
        if (low < -1e-3 or high > 1 + 1e-3) and self.family.logits:
            made = 1 / (1 + np.exp(-made.clip(-60, 60)))
        elif low < -1e-3 or high > 1 + 1e-3:
            raise BadInput(
                f"the matting network {self.path} gives numbers from {low:.3g} to {high:.3g}, not coverage; "
                "choose another image.matting_kind"
            )
        return scaled(made.clip(0, 1), picture.shape[:2]).clip(0, 1)

    def cut_out(self, picture: np.ndarray) -> SubjectImage:
        """The subject of a picture [H, W, 3] in [0, 1].

        Raises:
            SlipcastError: there is none.
        """
        alpha = self.coverage(picture)
        if not (alpha > 0.5).any():
            raise SlipcastError("the matting network finds no subject in the picture")
        return with_alpha(picture, alpha)


def load_matting(path: Path, kind: str = "auto") -> Matting:
    """Open an ONNX file.

    Args:
        kind: a name of ``FAMILIES``, or auto: by the input's size, where only one family has it.
    Raises:
        BadInput: onnxruntime is not installed, the file is no network that takes one picture, or it does not say which
            family it is of.
    """
    session, shape = open_network(path, "matting network", "image.matting")
    sides = [side for side in shape if side is not None]
    fitting = [name for name, one in FAMILIES.items() if not sides or sides == [one.side] * len(sides)]
    if kind == "auto" and len(fitting) == 1:
        kind = fitting[0]
    if kind not in fitting:
        size = " x ".join(map(str, sides)) or "any number of"
        raise BadInput(
            f"{path} takes pictures of {size} pixels, as {' and '.join(fitting) or 'none that is known'} do"
            + (f"; say which by image.matting_kind={' or '.join(fitting)}" if fitting else f" ({_sizes()})")
        )
    return Matting(path, FAMILIES[kind], session)


def _sizes() -> str:
    return ", ".join(f"{name} takes {one.side}" for name, one in FAMILIES.items())
