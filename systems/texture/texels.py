"""Which point of a mesh each texel of its atlas shows: what every bake starts from and ends with.

Texels that lie in no chart but near one (the rim) are painted too, from the surface continued beyond the chart's edge:
bilinear lookups and mip-maps blend them in along seams, so they must show what the surface shows there, on the other
side of the seam. Texels farther out are filled such that in every mip-map a texel shows the mean of what it covers of
charts and rims, and nothing else (``push_pull``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from ...configs.errors import BadInput, SlipcastError
from ..mesh.rasterizer import EMPTY, rasterize
from ..types import Mesh

LOOKUP_REACH = 1.5
"""Texels that a bilinear lookup reaches beyond a chart: both neighbours along the axes and the diagonal one."""
# In mip-map 2 a lookup reaches four times as far. With a rim of 1.5, seams differ by two to three times as much in
# mip-maps 2 and 3; with one of 12, by as much as with 6.
_RIM_TEXELS = 4 * LOOKUP_REACH
_FARTHEST = -1.0  # a sliver's rim texel would lie many slivers outside it


@dataclass(frozen=True)
class Texels:
    """The N texels of a size x size atlas that show the surface, charts first row by row, then their rim.

    index [N]: row * size + column, row 0 at the top; face [N]; weights [N, 3]: of the face's corners, summing to 1,
    negative beyond its edge.
    """

    size: int
    index: np.ndarray
    face: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def interpolate(self, values: np.ndarray, faces: np.ndarray, part: slice = slice(None)) -> np.ndarray:
        """Vertex values [V, C] at the texels (or some of them), [N, C], in the type of ``values``."""
        corners = values[faces[self.face[part]]]
        return np.einsum("nk,nkc->nc", self.weights[part].astype(values.dtype), corners)

    def picture(self, values: np.ndarray) -> np.ndarray:
        """Values [N, C] of the texels as a picture [size, size, C] without gaps, in their type."""
        flat = np.zeros((self.size**2, values.shape[1]), values.dtype)
        flat[self.index] = values
        covered = np.zeros(self.size**2, bool)
        covered[self.index] = True
        square = (self.size, self.size)
        return push_pull(flat.reshape(*square, -1), covered.reshape(square))

    def pieces(self, chunk: int) -> list[slice]:
        """All texels in order, at most ``chunk`` at a time."""
        return [slice(start, start + chunk) for start in range(0, len(self), chunk)]


def surface_texels(mesh: Mesh, size: int, *, rim: float = _RIM_TEXELS) -> Texels:
    """The texels of an unwrapped mesh's atlas of size x size, and those at most ``rim`` texels from a chart's.

    Raises:
        ValueError: a mesh without uv.
        BadInput: fewer than 16 texels.
        SlipcastError: no texel lies in a chart.
    """
    if mesh.uv is None:
        raise ValueError("baking needs a mesh with uv; call unwrap first")
    if size < 16:
        raise BadInput(f"the texture needs at least 16 texels, not {size}")
    corners = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], 1).astype(np.float64) * size
    face, weights = rasterize(corners, np.ones(len(corners)), mesh.faces, size, size)
    inside = face != EMPTY
    if not inside.any():
        raise SlipcastError(f"no texel of the {size} x {size} texture lies in a chart; unwrap the mesh again")
    nearest = nearest_inside(inside)
    charts = np.flatnonzero(inside)
    every = np.arange(size**2)
    apart = np.hypot(every // size - nearest // size, every % size - nearest % size)
    beyond = np.flatnonzero((apart > 0) & (apart <= rim))
    beyond_face = face.reshape(-1)[nearest[beyond]]
    centres = np.stack([beyond % size + 0.5, beyond // size + 0.5], 1)
    return Texels(
        size,
        np.concatenate([charts, beyond]),
        np.concatenate([face.reshape(-1)[charts], beyond_face]),
        np.concatenate([weights.reshape(-1, 3)[charts], _beyond(corners[mesh.faces[beyond_face]], centres)]),
    )


def nearest_inside(covered: np.ndarray) -> np.ndarray:
    """For every texel of ``covered`` [H, W] the closest covered one, [H * W], as row * W + column."""
    indices = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    rows, columns = np.asarray(indices)
    return rows.reshape(-1).astype(np.int64) * covered.shape[1] + columns.reshape(-1)


def push_pull(image: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Every texel outside ``covered`` [H, W] gets the mean of its smallest mip-map cell that has a covered texel.

    Means of covered texels are pushed up to 1 x 1, and pulled down where nothing is covered (Gortler et al. 1996). A
    box-filtered mip-map texel that covers some of a chart then shows charts' colours only, in their proportions.

    image [H, W, C], of which covered texels stay as they are, in its type; some texel must be covered.
    """
    total, weight = [image.astype(np.float32) * covered[..., None]], [covered.astype(np.float32)[..., None]]
    while max(weight[-1].shape[:2]) > 1:
        total.append(_sums_of_four(total[-1]))
        weight.append(_sums_of_four(weight[-1]))
    filled = total[-1] / weight[-1]
    for own, count in zip(total[-2::-1], weight[-2::-1], strict=True):
        below = filled.repeat(2, axis=0).repeat(2, axis=1)[: own.shape[0], : own.shape[1]]
        filled = np.where(count > 0, own / np.maximum(count, 1), below)
    if np.issubdtype(image.dtype, np.integer):
        filled = np.round(filled)
    return np.where(covered[..., None], image, filled.astype(image.dtype))


def _sums_of_four(values: np.ndarray) -> np.ndarray:
    """[H, W, C] -> [(H + 1) // 2, (W + 1) // 2, C]; beyond the edge lies nothing."""
    even = np.pad(values, [(0, values.shape[0] % 2), (0, values.shape[1] % 2), (0, 0)])
    return even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]


def _beyond(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Barycentric weights [N, 3] of points [N, 2] outside triangles [N, 3, 2]."""
    a, b, c = triangles[:, 0] - points, triangles[:, 1] - points, triangles[:, 2] - points
    areas = np.stack([_cross(b, c), _cross(c, a), _cross(a, b)], 1)
    # The rasteriser drew these triangles, so that none has an area of 0.
    weights = np.maximum(areas / areas.sum(axis=1, keepdims=True), _FARTHEST)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
