"""A texture that several cameras see at once: views laid into it, and the views that it gives back.

Both ways are linear in the colours, and neither mesh nor cameras move, so both are made once, as sparse matrices:

    laid   = sum over views and pixels of  w_vi b_ip view_vp  /  sum_v w_vi      N texels from V S^2 pixels
    seen   = mean over a pixel's samples of the texture's bilinear lookup        V S^2 pixels from N texels

w_vi says how squarely and how surely view v sees texel i: cos^power of the angle between its normal and the way to the
camera, 0 where something hides it, and falling to 0 towards outlines, whose pixels show half of what lies behind.
b are the four weights of a bilinear lookup, of which those on outlines are taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter
from scipy.sparse import csr_array, vstack

from ..field.cameras import Camera, project
from ..mesh.cleaning import unit
from ..mesh.rasterizer import EMPTY, interpolate, rasterize
from ..mesh.raycasting import MeshRays
from ..types import Mesh
from .texels import Texels
from .view_baking import GRAZING, squarely_seen

SURE_PIXELS = 2.5
"""Pixels from an outline: what a view shows farther inside is the surface's alone."""
_SUPERSAMPLE = 2  # samples along a pixel's side when the texture is looked at
_STEP_PIXELS = 8.0  # of depth between neighbouring pixels that make an outline inside the object's own
_TRUSTED = 0.3  # cosine, beyond a grazing one, from which a texel is painted in full


@dataclass(frozen=True)
class Canvas:
    """Texels and cameras of one mesh, and the maps between them.

    Attributes:
        trust: [N] in [0, 1], how far a texel shows what views say of it; 0 where none sees it.
        cosine: [V, N] between normal and way to the camera, 0 where a view does not see a texel.
        sure: [V, N] in [0, 1], how far from outlines a view sees a texel.
        weight: [V, N], w_vi.
        coverage: [V, S, S], the share of each pixel that the mesh covers.
    """

    trust: np.ndarray
    cosine: np.ndarray
    sure: np.ndarray
    weight: np.ndarray
    coverage: np.ndarray
    _lookups: tuple[csr_array, ...]  # of each view, [N, S^2]
    _seen: csr_array  # [V S^2, N]

    def looked_up(self, view: int, picture: np.ndarray) -> np.ndarray:
        """What one view says of the texels: picture [S, S, C] -> [N, C], 0 where it sees none."""
        return self._lookups[view] @ picture.reshape(-1, picture.shape[-1])

    def laid(self, pictures: np.ndarray) -> np.ndarray:
        """The views' weighted mean at the texels: pictures [V, S, S, 3] -> [N, 3], 0 where no view sees one."""
        total = sum(self.weight[v][:, None] * self.looked_up(v, one) for v, one in enumerate(pictures))
        return total / np.maximum(self.weight.sum(0), np.float32(1e-9))[:, None]

    def lost(self, pictures: np.ndarray) -> np.ndarray:
        """The detail that looking up and back takes from each view's own part of the texture: [V, S, S, 3].

        Two bilinear lookups blur a little. What a view loses so where a texel is its own is given back to it, so that
        agreeing again and again does not wash out what all agree on.
        """
        return np.stack([self._lost(view, one) for view, one in enumerate(pictures)])

    def _lost(self, view: int, picture: np.ndarray) -> np.ndarray:
        pixels = picture.shape[0] * picture.shape[1]
        back = self._seen[view * pixels : (view + 1) * pixels]
        share = self.trust * self.weight[view] / np.maximum(self.weight.sum(0), np.float32(1e-9))
        own = (back @ share)[:, None]
        return (
            own * picture.reshape(-1, 3) - back @ (share[:, None] * self.looked_up(view, picture))
        ).reshape(picture.shape)

    def seen(self, colours: np.ndarray, backgrounds: np.ndarray) -> np.ndarray:
        """Views of the texels' colours [N, 3] before plain backgrounds [V, 3]: [V, S, S, 3]."""
        shown = (self._seen @ colours).reshape(*self.coverage.shape, 3)
        return shown + (1 - self.coverage[..., None]) * backgrounds[:, None, None]


def canvas_of(mesh: Mesh, texels: Texels, cameras: Sequence[Camera], size: int, *, power: float) -> Canvas:
    """Everything that does not change while colours do.

    Args:
        mesh: unwrapped, with normals.
        texels: those of ``surface_texels(mesh, edge)``, with their rim: lookups reach beyond the charts.
        cameras: of the V views, each of size x size pixels.
        power: of the cosine; the larger, the more a texel belongs to the view that sees it most squarely.
    """
    points = texels.interpolate(mesh.vertices, mesh.faces).astype(np.float32)
    normals = unit(texels.interpolate(mesh.normals, mesh.faces)).astype(np.float32)
    place = np.full(texels.size**2, -1)
    place[texels.index] = np.arange(len(texels))
    tracer = MeshRays(mesh)
    shape = (len(cameras), len(texels))
    cosines, sureness = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    lookups, shown, coverage = [], [], []
    for number, camera in enumerate(cameras):
        pixels, depth = _placed(mesh, camera, size)
        rows, cosine = squarely_seen(tracer, camera, points, normals)
        at, _ = project(camera, torch.from_numpy(points[rows]), size)
        columns, shares = _bilinear(at.numpy(), size)
        shares = shares * _sureness(pixels, depth, mesh.faces, size).reshape(-1)[columns]
        sure = shares.sum(1)
        shares /= np.maximum(sure, np.float32(1e-9))[:, None]  # pixels of an outline do not count at all
        cosines[number, rows], sureness[number, rows] = cosine, sure
        lookups.append(_rows(rows, columns, shares, (len(texels), size * size)))
        matrix, covered = _view_of_texels(mesh, texels.size, place, camera, size)
        shown.append(matrix)
        coverage.append(covered)
    # Of the squarest look at each texel: a large power of a small cosine would be nothing at all.
    squarest = np.maximum(cosines.max(0), np.float32(1e-6))
    weight = (cosines / squarest) ** np.float32(power) * sureness
    trust = (((cosines * sureness).max(0) - GRAZING) / _TRUSTED).clip(0, 1)
    seen = csr_array(vstack(shown))
    return Canvas(trust, cosines, sureness, weight, np.stack(coverage), tuple(lookups), seen)


def _placed(mesh: Mesh, camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray]:
    pixels, depth = project(camera, torch.as_tensor(mesh.vertices), size)
    return pixels.numpy().astype(np.float64), depth.numpy().astype(np.float64)


def _sureness(pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    """[size, size] in [0, 1]: 0 at outlines, of the object and within it, and 1 a few pixels away from them."""
    face, weights = rasterize(pixels, depth, faces, size, size)
    covered = face != EMPTY
    if not covered.any():
        return np.zeros((size, size), np.float32)
    far = np.full((size, size), np.inf)
    far[covered] = interpolate(depth[:, None], faces, face, weights)[:, 0]
    highest = np.ptp(pixels[np.unique(faces)], axis=0).max()
    pixel = 2 / max(highest, 1.0)  # about as wide as a pixel on the object, which is 2 at most
    step = maximum_filter(np.where(covered, far, -np.inf), 3) - minimum_filter(far, 3)
    safe = covered & (minimum_filter(covered, 3) > 0) & (step < _STEP_PIXELS * pixel)
    return np.clip(np.asarray(distance_transform_edt(safe)) / SURE_PIXELS, 0, 1).astype(np.float32)


def _bilinear(at: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The four pixels [N, 4] (row * size + column) round pixel coordinates [N, 2], and their weights [N, 4]."""
    x, y = (np.clip(at - 0.5, 0, size - 1)).astype(np.float32).T
    column, row = np.minimum(x.astype(np.int64), size - 2), np.minimum(y.astype(np.int64), size - 2)
    right, down = x - column, y - row
    first = row * size + column
    places = np.stack([first, first + 1, first + size, first + size + 1], 1)
    shares = np.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], 1)
    return places, shares.astype(np.float32)


def _view_of_texels(
    mesh: Mesh, edge: int, place: np.ndarray, camera: Camera, size: int
) -> tuple[csr_array, np.ndarray]:
    """One camera's [S^2, N] share of the texels in its pixels, and the pixels' coverage [S, S]."""
    assert mesh.uv is not None  # texels come from it
    fine = size * _SUPERSAMPLE
    face, weights = rasterize(*_placed(mesh, camera, fine), mesh.faces, fine, fine)
    covered = face != EMPTY
    uv = interpolate(mesh.uv, mesh.faces, face, weights)
    columns, shares = _bilinear(np.stack([uv[:, 0], 1 - uv[:, 1]], 1) * edge, edge)
    columns = place[columns]
    # The rim is wide enough for every lookup but those at the atlas's own border, which belong to no chart.
    shares = np.where(columns < 0, 0, shares)
    shares /= np.maximum(shares.sum(1, keepdims=True), 1e-9) * _SUPERSAMPLE**2
    row, column = (index // _SUPERSAMPLE for index in np.nonzero(covered))
    matrix = _rows(row * size + column, np.maximum(columns, 0), shares, (size * size, int(place.max()) + 1))
    grid = (size, _SUPERSAMPLE, size, _SUPERSAMPLE)
    return matrix, covered.reshape(grid).mean(axis=(1, 3), dtype=np.float32)


def _rows(rows: np.ndarray, columns: np.ndarray, shares: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """The matrix with ``shares`` [N, 4] in ``rows`` [N] and ``columns`` [N, 4]; entries of one place add up."""
    places = (np.repeat(rows, columns.shape[1]), columns.reshape(-1))
    return csr_array((shares.astype(np.float32).reshape(-1), places), shape=shape)
