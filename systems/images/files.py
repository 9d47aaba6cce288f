"""Pictures and masks that users give: one reader for all of them; whatever does not fit is said in a sentence.

Phones store pictures turned, scanners in 16 bits, drawing programs with transparency: all of it becomes an upright
picture in one of three modes before anything else looks at it.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import max_pool2d

from ...configs.errors import BadInput, in_one_line
from ..types import SubjectImage

LARGEST = 89_478_485  # pixels: where PIL begins to suspect a decompression bomb
_GREY = (128, 128, 128, 255)
_BLACK = (0, 0, 0, 255)
# How PIL says that a file is damaged, by format and by the part that is.
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError)
_REFUSALS = (
    *_DAMAGED,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def read_image(path: Path) -> Image.Image:
    """The first frame of a picture file, whole and ``upright``.

    Raises: BadInput when it is missing, no picture, damaged, too large, or holds numbers of unknown range.
    """
    try:
        if not path.is_file():
            raise BadInput(f"there is no picture {path}; give the path of a PNG or JPEG file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on odd but readable metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                opened.load()
                return upright(opened, str(path))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadInput(
            f"{path} holds more than {LARGEST // 10**6} million pixels, which is too large; scale it down"
        ) from error
    except _REFUSALS as error:
        reason = in_one_line(error)
        raise BadInput(f"{path} is no picture that can be read ({reason}); save it as PNG or JPEG") from error


def upright(picture: Image.Image, name: str = "the picture") -> Image.Image:
    """A picture turned as its EXIF says, in mode RGB, in RGBA if it is transparent anywhere, or in F.

    F is grey of more than 8 bits, from 0 (black) to 1 (white).

    Raises: BadInput for numbers whose range nobody knows.
    """
    turned = ImageOps.exif_transpose(picture)
    if turned.mode.startswith(("I", "F")):
        levels = _levels(np.asarray(turned), name)
        hidden = turned.info.get("transparency")
        if not isinstance(hidden, int):
            return Image.fromarray(levels)
        grey = _eight_bits(levels)
        alpha = np.where(np.asarray(turned) == hidden, 0, 255).astype(np.uint8)
        return Image.fromarray(np.dstack([grey, grey, grey, alpha]))
    if not turned.has_transparency_data:
        return turned.convert("RGB")
    return (turned.convert("LA") if turned.mode == "La" else turned).convert("RGBA")


def _levels(stored: np.ndarray, name: str) -> np.ndarray:
    """Grey from 0 to 1, float32, of whole numbers of 16 or 31 bits, or of floats.

    Floats count up to 1, unless all are whole numbers: these are levels of 8 or 16 bits that a program saved as floats.
    """
    values, most = stored.astype(np.float64), float(stored.max(initial=0))
    if stored.dtype.kind != "f":
        white = 65535 if most <= 65535 else 2**31 - 1
    elif most <= 1:
        white = 1
    else:
        whole = bool(np.isfinite(values).all() and (values == values.round()).all())
        white = next((top for top in (255, 65535) if whole and most <= top), 0)
    if not white or not np.isfinite(values).all() or values.min(initial=0) < 0:
        raise BadInput(
            f"{name} holds numbers from {values.min():g} to {most:g}, of unknown range; save it with 8 or 16 bits"
        )
    return (values / white).astype(np.float32)


def _eight_bits(levels: np.ndarray) -> np.ndarray:
    return (levels * 255 + 0.5).clip(0, 255).astype(np.uint8)


Size = int | tuple[int, int]
"""Pixels of a square, or (height, width)."""


def sides(size: Size) -> tuple[int, int]:
    """(height, width) of a size."""
    return (size, size) if isinstance(size, int) else size


def _width_height(size: Size) -> tuple[int, int]:
    height, width = sides(size)
    return width, height


def middle_of(picture: Image.Image, size: Size, resampling: Image.Resampling) -> np.ndarray:
    """The middle of an upright picture, scaled to a size: [H, W, 3] float32 in [0, 1]; transparency over grey."""
    return _rgb(ImageOps.fit(_opaque(picture), _width_height(size), resampling))


def as_rgb(picture: Image.Image, ground: tuple[int, int, int, int] = _GREY) -> Image.Image:
    """An upright picture in mode RGB, 8 bits; transparent parts over a ground, RGBA."""
    picture = _opaque(picture, ground)
    if picture.mode == "F":
        picture = Image.fromarray(_eight_bits(np.asarray(picture)))
    return picture.convert("RGB")


def _opaque(picture: Image.Image, ground: tuple[int, int, int, int] = _GREY) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture).convert("RGB")


def _rgb(picture: Image.Image) -> np.ndarray:
    levels = np.asarray(picture, np.float32)
    if picture.mode == "F":
        return np.repeat(levels[..., None], 3, axis=2).clip(0, 1)
    return levels / 255


def read_subject(path: Path | Image.Image) -> SubjectImage:
    """What ``SubjectImage.save`` wrote, or any picture that people give: one without transparency is all subject.

    Args:
        path: a file, or what ``read_image`` made of one.

    Raises: BadInput when there is none or it cannot be read.
    """
    picture = path if isinstance(path, Image.Image) else read_image(path)
    if picture.mode == "F":
        picture = Image.fromarray(_eight_bits(np.asarray(picture)))
    rgba = np.asarray(picture.convert("RGBA")).astype(np.float32) / 255
    return SubjectImage(rgb=rgba[..., :3].copy(), alpha=rgba[..., 3].copy())


def read_rgb(path: Path) -> Image.Image:
    """A picture as it is, in 8 bits, transparent parts over grey.

    Raises: BadInput when there is none or it cannot be read.
    """
    return Image.fromarray(_eight_bits(_rgb(_opaque(read_image(path)))))


def read_picture(path: Path, size: Size) -> Tensor:
    """A picture as [1, 3, H, W] in [0, 1]: its middle, scaled to a size, transparent parts over grey.

    Raises: BadInput when there is none or it cannot be read.
    """
    middle = middle_of(read_image(path), size, Image.Resampling.LANCZOS)
    return torch.from_numpy(middle).permute(2, 0, 1)[None].contiguous()


def read_whole(path: Path, size: Size) -> Tensor:
    """A picture as it is, [1, 3, H, W] in [0, 1], its last row and column repeated to fill a larger size.

    Raises: BadInput when there is none or it cannot be read.
    """
    rgb = _rgb(_opaque(read_image(path)))
    filled = np.pad(rgb, (*_missing(rgb, size), (0, 0)), mode="edge")
    return torch.from_numpy(filled).permute(2, 0, 1)[None].contiguous()


def _missing(array: np.ndarray, size: Size) -> tuple[tuple[int, int], tuple[int, int]]:
    height, width = sides(size)
    return (0, height - array.shape[0]), (0, width - array.shape[1])


def read_mask(path: Path, picture: Path, size: Size, *, whole: bool = False) -> Tensor:
    """A mask as [1, 1, H, W] of zeros and ones in pixels: 1 is painted anew.

    A pixel of the file is painted where it is nearer to white than to black; transparent is black. A pixel of the
    result is painted if any that it covers is, so that thin lines survive scaling.

    Args:
        whole: as ``read_whole`` reads the picture, what is filled in being kept; else as ``read_picture`` does.
    Raises: BadInput when it is unreadable, of another size than its picture, or nowhere white.
    """
    mask, shown = read_image(path), read_image(picture)
    if mask.size != shown.size:
        raise BadInput(
            f"the mask {path} has {mask.size[0]} x {mask.size[1]} pixels and the picture {picture} "
            f"{shown.size[0]} x {shown.size[1]}; make them equal"
        )
    if mask.mode == "RGBA":
        mask = Image.alpha_composite(Image.new("RGBA", mask.size, _BLACK), mask)
    grey = _eight_bits(np.asarray(mask)) if mask.mode == "F" else np.asarray(mask.convert("L"))
    white = (grey >= 128).astype(np.float32)
    if whole:
        painted = np.pad(white, _missing(white, size)) > 0
    else:
        scaled = ImageOps.fit(Image.fromarray(white), _width_height(size), Image.Resampling.BOX)
        painted = np.asarray(scaled) > 0
    if not painted.any():
        raise BadInput(f"the mask {path} has no white part, so nothing would be painted anew")
    return torch.from_numpy(painted.astype(np.float32))[None, None]


def latent_mask(mask: Tensor, pixels_per_latent: int) -> Tensor:
    """A mask of pixels [1, 1, H, W] in latents: one is painted if any of its pixels is."""
    return max_pool2d(mask, pixels_per_latent)


def with_kept_pixels(drawn: np.ndarray, picture: Tensor, mask: Tensor) -> np.ndarray:
    """What was drawn, [H, W, 3] uint8, with the pixels outside of the mask exactly as in the picture [1, 3, H, W].

    A codec returns no picture to the bit, and its decoder looks beyond one latent; people keep what they mask.
    """
    kept = _eight_bits(picture[0].permute(1, 2, 0).numpy())
    return np.where(mask[0, 0, :, :, None].numpy() > 0, drawn, kept)
