"""Pictures and masks that users give, as tensors; whatever does not fit is said in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ...configs.errors import BadInput
from .control_maps import read_image, without_transparency


def read_picture(path: Path, size: int) -> Tensor:
    """A picture as [1, 3, size, size] in [0, 1]: its middle square, transparent parts over grey.

    Raises: BadInput when there is none or it cannot be read.
    """
    square = ImageOps.fit(
        without_transparency(read_image(path)).convert("RGB"), (size, size), Image.Resampling.LANCZOS
    )
    return torch.from_numpy(np.asarray(square, np.float32) / 255).permute(2, 0, 1)[None].contiguous()


def read_mask(path: Path, picture: Path, side: int) -> Tensor:
    """A mask as [1, 1, side, side] of zeros and ones in latents: 1 (white) is painted anew.

    Raises: BadInput when it is unreadable, of another size than its picture, or nowhere white.
    """
    mask, shown = read_image(path), read_image(picture)
    if mask.size != shown.size:
        raise BadInput(
            f"the mask {path} has {mask.size[0]} x {mask.size[1]} pixels and the picture {picture} "
            f"{shown.size[0]} x {shown.size[1]}; make them equal"
        )
    square = ImageOps.fit(without_transparency(mask).convert("L"), (side, side), Image.Resampling.BOX)
    found = torch.from_numpy((np.asarray(square) >= 128).astype(np.float32))[None, None]
    if not found.any():
        raise BadInput(f"the mask {path} has no white part, so nothing would be painted anew")
    return found
