"""Cut a subject out of a picture with a plain ground: the ground is a plane of colour fitted to the picture's border.

Enough for pictures that were asked for on a plain background. A ground of another hue than the subject is what makes it
work: blue-and-white porcelain separates best from orange, worst from grey.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...configs.errors import SlipcastError
from ..types import SubjectImage

_BORDER = 0.05
_CLEAR = 0.07  # distance in RGB below which a pixel is ground: codec noise on a plain ground stays under it
_SOLID = (0.14, 0.45)  # distance from which a pixel is all subject: 0.6 of the subject's own, within these
_SMALLEST_PART = 0.03


def cut_out(picture: np.ndarray) -> SubjectImage:
    """The subject of a picture [H, W, 3] in [0, 1] on a plain or gently graded ground, with soft edges.

    Raises: SlipcastError when nothing stands out from the ground.
    """
    distance = np.linalg.norm(picture - plain_ground(picture), axis=-1)
    distance = ndimage.gaussian_filter(distance, 0.5)
    apart = distance[distance > 2 * _CLEAR]
    full = np.clip(0.6 * np.median(apart), *_SOLID) if apart.size else _SOLID[0]
    alpha = np.clip((distance - _CLEAR) / (full - _CLEAR), 0, 1)
    solid = _without_crumbs(alpha > 0.5)
    if not solid.any():
        raise SlipcastError(
            "no subject stands out from the picture's ground; try another seed or image.background"
        )
    solid = _without_pinholes(solid)
    near = ndimage.binary_dilation(solid, iterations=1)
    inside = ndimage.binary_erosion(solid, iterations=2)
    alpha = np.where(inside, 1.0, np.where(near, np.maximum(alpha, 0.6 * solid), 0.0)).astype(np.float32)
    return SubjectImage(_bleed(picture.astype(np.float32), alpha), alpha)


def plain_ground(picture: np.ndarray) -> np.ndarray:
    """The ground [H, W, 3]: one plane a + b x + c y per channel, fitted to the border without its outliers."""
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
    """Fill holes too small to be a handle's eye; larger ones show the ground and stay."""
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
    """Colours outside and at the rim taken from the nearest pixel well inside: no ground colour leaks into edges."""
    inside = np.asarray(ndimage.binary_erosion(alpha > 0.9, iterations=1))
    if not inside.any():
        return picture
    nearest = ndimage.distance_transform_edt(
        np.logical_not(inside), return_distances=False, return_indices=True
    )
    rows, columns = np.asarray(nearest)
    return picture[rows, columns]
