"""Cut a subject out of a picture with a plain background: a plane of colour fitted to the picture's border.

Enough for pictures that were asked for so. A background of another hue than the subject is what makes it work:
blue-and-white porcelain separates best from orange, worst from grey.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from ...configs.errors import BadInput, SlipcastError
from ..types import SubjectImage

_BORDER = 0.05
_CLEAR = 0.07  # distance in RGB below which a pixel is background: codec noise on a plain background stays under it
_SOLID = (0.14, 0.45)  # distance from which a pixel is all subject: 0.6 of the subject's own, within these
_SMALLEST_PART = 0.03
_PLAIN = 0.6  # of the border; the rest may be a subject that runs out of the picture
FRAMED = 0.7
"""Share of a picture's side that its subject takes: 0.85 of the object's frame (``systems.lift.surface.framed``) seen
from 4.5 away within 30 degrees, 0.85 / (4.5 tan 15)."""
_TOUCHES = 0.01  # of a side's pixels; a stray one is no cut


def cut_out(picture: np.ndarray) -> SubjectImage:
    """The subject of a picture [H, W, 3] in [0, 1] on a plain or gently graded background, with soft edges.

    Raises: SlipcastError when nothing stands out from the background.
    """
    distance = np.linalg.norm(picture - plain_background(picture), axis=-1)
    distance = ndimage.gaussian_filter(distance, 0.5)
    apart = distance[distance > 2 * _CLEAR]
    full = np.clip(0.6 * np.median(apart), *_SOLID) if apart.size else _SOLID[0]
    alpha = np.clip((distance - _CLEAR) / (full - _CLEAR), 0, 1)
    solid = _without_crumbs(alpha > 0.5)
    if not solid.any():
        raise SlipcastError(
            "no subject stands out from the picture's background; try another seed or image.background"
        )
    solid = _without_pinholes(solid)
    near = ndimage.binary_dilation(solid, iterations=1)
    inside = ndimage.binary_erosion(solid, iterations=2)
    alpha = np.where(inside, 1.0, np.where(near, np.maximum(alpha, 0.6 * solid), 0.0)).astype(np.float32)
    return with_alpha(picture, alpha)


def with_alpha(picture: np.ndarray, alpha: np.ndarray) -> SubjectImage:
    """A picture [H, W, 3] with the coverage [H, W] of its subject; the background's colour is taken out of its rim."""
    return SubjectImage(_bleed(picture.astype(np.float32), alpha), alpha.astype(np.float32))


def has_plain_background(picture: np.ndarray) -> bool:
    """Whether most of a picture's border lies on one plane of colour, so that ``cut_out`` knows what is background."""
    height, width = picture.shape[:2]
    margin = max(2, round(_BORDER * max(height, width)))
    border = np.ones((height, width), bool)
    border[margin:-margin, margin:-margin] = False
    distance = np.linalg.norm(picture - plain_background(picture), axis=-1)
    return float((distance[border] < _CLEAR).mean()) > _PLAIN


def squared(subject: SubjectImage) -> SubjectImage:
    """The picture in the middle of the smallest square that holds it; what is added is empty."""
    height, width = subject.alpha.shape
    if height == width:
        return subject
    side = max(height, width)
    rows, columns = ((side - one) // 2 for one in (height, width))
    around = ((rows, side - height - rows), (columns, side - width - columns))
    return SubjectImage(np.pad(subject.rgb, (*around, (0, 0)), mode="edge"), np.pad(subject.alpha, around))


def in_common_framing(subject: SubjectImage) -> SubjectImage:
    """A square around the subject, its bounding box in the middle and ``FRAMED`` of the side long; nothing is scaled.

    That is how drawn pictures are framed, and what lifts were trained on: wherever it stands in a photo, a subject
    becomes an object of the same size in the same place.
    """
    seen = subject.alpha > 0.5
    ends = [(int(line[0]), int(line[-1]) + 1) for line in (np.flatnonzero(seen.any(axis)) for axis in (1, 0))]
    side = round(max(end - start for start, end in ends) / FRAMED)
    starts = [
        start - (side - (end - start)) // 2 for start, end in ends
    ]  # of the square, maybe outside the picture
    around = [(max(0, -start), max(0, start + side - n)) for start, n in zip(starts, seen.shape, strict=True)]
    window = tuple(
        slice(start + low, start + low + side) for start, (low, _) in zip(starts, around, strict=True)
    )
    rgb = np.pad(subject.rgb, (*around, (0, 0)), mode="edge")
    return SubjectImage(rgb[window], np.pad(subject.alpha, around)[window])


def touched_sides(subject: SubjectImage) -> list[str]:
    """Names of the picture's sides that the subject runs into."""
    alpha = subject.alpha
    ends = {"upper": alpha[0], "lower": alpha[-1], "left": alpha[:, 0], "right": alpha[:, -1]}
    return [name for name, line in ends.items() if (line > 0.5).mean() > _TOUCHES]


def plain_background(picture: np.ndarray) -> np.ndarray:
    """The background [H, W, 3]: one plane a + b x + c y per channel, fitted to the border without its outliers."""
    height, width = picture.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width) - 0.5
    margin = max(2, round(_BORDER * max(height, width)))
    border = np.ones((height, width), bool)
    border[margin:-margin, margin:-margin] = False
    terms = np.stack([np.ones_like(rows), rows, columns], -1)
    a, b = terms[border], picture[border]
    kept = np.linalg.norm(b - np.median(b, 0), axis=1) < 0.25
    if kept.sum() < 10:
        kept[:] = True
    plane = np.zeros((3, 3))
    for _ in range(3):
        plane, *_ = np.linalg.lstsq(a[kept], b[kept], rcond=None)
        error = np.linalg.norm(b - a @ plane, axis=1)
        kept = error <= max(0.02, 2 * float(np.median(error)))
    return terms @ plane


def _without_crumbs(solid: np.ndarray) -> np.ndarray:
    labels, count = _connected(solid, np.ones((3, 3)))
    if count <= 1:
        return solid
    sizes = ndimage.sum(solid, labels, range(1, count + 1))
    return np.isin(labels, 1 + np.flatnonzero(sizes >= _SMALLEST_PART * sizes.max()))


def _without_pinholes(solid: np.ndarray) -> np.ndarray:
    """Fill holes too small to be a handle's eye; larger ones show the background and stay."""
    labels, count = _connected(~solid)
    if count == 0:
        return solid
    sizes = ndimage.sum(~solid, labels, range(1, count + 1))
    return solid | np.isin(labels, 1 + np.flatnonzero(sizes < 0.0008 * solid.size))


def _connected(mask: np.ndarray, structure: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    labels = np.zeros(mask.shape, np.int32)
    count = ndimage.label(mask, structure=structure, output=labels)
    assert isinstance(count, int)
    return labels, count


def _bleed(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours outside and at the rim taken from the nearest pixel well inside: no background leaks into edges."""
    inside = np.asarray(ndimage.binary_erosion(alpha > 0.9, iterations=1))
    if not inside.any():
        return picture
    nearest = ndimage.distance_transform_edt(
        np.logical_not(inside), return_distances=False, return_indices=True
    )
    rows, columns = np.asarray(nearest)
    return picture[rows, columns]


def on_ground(picture: SubjectImage, grey: float, side: int, share: float) -> Image.Image:
    """The subject in the middle of a square of one grey, as image-to-3D networks were trained.

    Args:
        grey: of the ground, 0 to 1.
        side: of the square, in pixels.
        share: of the side that the subject takes.
    Raises: BadInput where there is no subject.
    """
    rows, columns = np.nonzero(picture.alpha > 0.5)
    if len(rows) == 0:
        raise BadInput("the picture shows no subject: its cut-out is transparent everywhere")
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    whole = round(max(bottom - top, right - left) / share)
    canvas = np.full((whole, whole, 3), grey, np.float32)
    down, across = (whole - (bottom - top)) // 2, (whole - (right - left)) // 2
    part = SubjectImage(picture.rgb[top:bottom, left:right], picture.alpha[top:bottom, left:right])
    canvas[down : down + bottom - top, across : across + right - left] = part.over((grey, grey, grey))
    shown = Image.fromarray((canvas * 255 + 0.5).clip(0, 255).astype(np.uint8))
    return shown.resize((side, side), Image.Resampling.LANCZOS)
