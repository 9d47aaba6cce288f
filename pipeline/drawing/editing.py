"""How large pictures are drawn, and the picture that an edit starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...configs.errors import BadInput
from ...configs.picture import PictureConfig, parse_size
from ...systems.images.files import latent_mask, read_image, read_mask, read_picture, read_whole
from ...systems.models.base import Base
from ..run.progress import Progress

_LARGE = 6  # times the model's own number of pixels, from where a picture's own shape is remarked on
_LARGEST = 8  # times the model's own size; far below it already, pictures fall apart into repetitions


@dataclass(frozen=True)
class Edit:
    """A picture to start from, and what of it is painted anew.

    Attributes:
        picture: [1, 3, H, W] in [0, 1].
        latents: the same, encoded [1, C, h, w].
        shape: (height, width) of what is the user's of it, at its upper left; the rest fills the last cells.
        mask: [1, 1, H, W], 1 is painted; None edits the whole picture.
        latent_mask: [1, 1, h, w], 1 where any pixel is painted.
    """

    picture: Tensor
    latents: Tensor
    shape: tuple[int, int]
    mask: Tensor | None = None
    latent_mask: Tensor | None = None


def size_of(config: PictureConfig, base: Base) -> tuple[int, int]:
    """(height, width) in pixels of what is drawn: as asked for, an edited picture's own, or the model's own.

    Raises: BadInput for a size that the network cannot take, with the nearest one that it can.
    """
    if config.size is None:
        return _edited_size(config, base) or (base.picture_size, base.picture_size)
    height, width = parse_size(config.size)
    cell = base.cell
    near = [max(cell, round(side / cell) * cell) for side in (height, width)]
    if base.only_square and height != width:
        raise BadInput(f"--size of {base.name!r} is a square's, such as {max(near)}, not {config.size}")
    if (height, width) != tuple(near):
        raise BadInput(
            f"--size must be a multiple of {cell} for {base.name!r}, not {config.size}; try {near[1]}x{near[0]}"
        )
    _check_not_too_large(height, width, base)
    return height, width


def _edited_size(config: PictureConfig, base: Base) -> tuple[int, int] | None:
    """(height, width) of the picture to edit, padded to whole cells of the base; None if there is none."""
    if config.edit is None or base.only_square:
        return None
    width, height = read_image(Path(config.edit)).size
    padded = [-(-side // base.cell) * base.cell for side in (height, width)]
    _check_not_too_large(padded[0], padded[1], base)
    return padded[0], padded[1]


def _check_not_too_large(height: int, width: int, base: Base) -> None:
    most, why = _LARGEST * base.picture_size, f"{_LARGEST} times its own"
    if base.most_pixels is not None and base.most_pixels < most:
        most, why = base.most_pixels, "as far as its network knows places"
    if max(height, width) > most:
        raise BadInput(
            f"{base.name!r} draws at most {most} pixels along a side, {why}, not {width}x{height}; "
            "give a smaller --size"
        )


def edit_of(config: PictureConfig, base: Base, size: tuple[int, int], console: Progress) -> Edit | None:
    """The picture to edit and its mask, where the config names them.

    Raises: BadInput for one that cannot be read, or a mask that is none of it.
    """
    if config.edit is None:
        if config.mask is not None:
            raise BadInput("--mask needs the picture that it belongs to; give --edit PICTURE as well")
        return None
    if config.size is None and size[0] * size[1] > _LARGE * base.picture_size**2:
        console.notice(
            f"{config.edit} is edited at its own {size[1]} x {size[0]} pixels, far beyond the {base.picture_size} of "
            f"{base.name!r}: that needs time and memory, and repeats things; --size draws it smaller"
        )
    whole = config.size is None and not base.only_square  # at its own shape, padded; else its middle, scaled
    picture = (read_whole if whole else read_picture)(Path(config.edit), size)
    mask = None
    if config.mask is not None:
        mask = read_mask(Path(config.mask), Path(config.edit), size, whole=whole)
    with torch.no_grad():
        latents = base.encode(picture).cpu()
    small = None if mask is None else latent_mask(mask, base.pixels_per_latent)
    width, height = read_image(Path(config.edit)).size
    return Edit(picture, latents, (height, width) if whole else size, mask, small)


def latent_shape(base: Base, size: tuple[int, int]) -> tuple[int, int, int]:
    """(channels, height, width) of the latents of pictures of ``size`` pixels, (height, width)."""
    return base.latent_shape[0], size[0] // base.pixels_per_latent, size[1] // base.pixels_per_latent
