"""From a raw iso-surface to a mesh worth exporting: no crumbs, no voxel steps, smooth normals.

Works on plain arrays: vertices [V, 3] float, faces [F, 3] integers, counter-clockwise seen from outside.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, diags_array
from scipy.spatial import KDTree

from .report import directed_edges, face_components, face_volumes

_TAUBIN_LAMBDA, _TAUBIN_MU = 0.5, -0.53
_PARTED, _PARTINGS = 0.01, 4  # of the way to the neighbours, and how often at most


def keep_large_components(
    vertices: np.ndarray, faces: np.ndarray, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Drop pieces that enclose less than ``fraction`` of the largest one's volume.

    Enclosed cavities go too, whatever their size: they look inward (negative volume) and nobody can see them.
    """
    piece = face_components(faces)
    volumes = np.bincount(piece, face_volumes(vertices, faces))
    keep = volumes >= max(fraction, 1e-9) * volumes.max()
    return compact(vertices, faces[keep[piece]])


def keep_visible_pieces(
    vertices: np.ndarray, faces: np.ndarray, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """``keep_large_components``, less the pieces that lie inside others: nobody can see those either.

    A piece lies inside if the winding number of the larger ones round its first vertex is above 1/2.
    """
    vertices, faces = keep_large_components(vertices, faces, fraction)
    piece = face_components(faces)
    if piece.max(initial=0) == 0:
        return vertices, faces
    size = np.bincount(piece, face_volumes(vertices, faces))
    hidden = np.zeros(len(faces), bool)
    for index in range(len(size)):
        larger = faces[size[piece] > size[index]]
        if len(larger) and _winding_number(vertices, larger, vertices[faces[piece == index][0, 0]]) > 0.5:
            hidden |= piece == index
    return compact(vertices, faces[~hidden])


def _winding_number(vertices: np.ndarray, faces: np.ndarray, point: np.ndarray) -> float:
    """How often closed faces surround a point: their solid angles (Van Oosterom & Strackee 1983) over 4 pi."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) - point for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    ab, bc, ca = (np.einsum("fk,fk->f", x, y) for x, y in ((a, b), (b, c), (c, a)))
    triple = np.einsum("fk,fk->f", a, np.cross(b, c))
    return float(np.arctan2(triple, la * lb * lc + ab * lc + bc * la + ca * lb).sum() / (2 * np.pi))


def smooth(
    vertices: np.ndarray, faces: np.ndarray, iterations: int, *, along_normals: bool = False
) -> np.ndarray:
    """Taubin's low-pass filter (SIGGRAPH 1995, lambda | mu): removes voxel steps without shrinking the object.

    One pass with weight 0.5 towards the neighbours' mean, one with -0.53 away from it; the connectivity is untouched.
    ``along_normals`` keeps vertices from sliding within the surface, which would make all faces equally large.
    """
    mean = neighbour_mean(len(vertices), faces)
    points = vertices.astype(np.float64)
    for _ in range(iterations):
        normals = vertex_normals(points, faces) if along_normals else None
        for weight in (_TAUBIN_LAMBDA, _TAUBIN_MU):
            step = mean @ points - points
            if normals is not None:
                step = np.einsum("vc,vc->v", step, normals)[:, None] * normals
            points = points + weight * step
    return points


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals [V, 3] float32: face normals averaged with the corner angles as weights (Thuermer & Wuethrich 1998).

    Angles, unlike areas, make the result independent of how a flat part was cut into triangles.
    """
    corners = vertices[faces].astype(np.float64)
    forward = unit(np.roll(corners, -1, axis=1) - corners)
    backward = -np.roll(forward, 1, axis=1)
    angle = np.arccos(np.einsum("fkc,fkc->fk", forward, backward).clip(-1, 1))
    face_normal = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    weighted = (angle[..., None] * face_normal[:, None]).reshape(-1, 3)
    index = faces.reshape(-1)
    total = np.stack([np.bincount(index, weighted[:, k], len(vertices)) for k in range(3)], 1)
    normals = unit(total)
    # A vertex whose faces cancel out has no normal; glTF demands unit length, so it gets "up".
    normals[np.linalg.norm(normals, axis=1) < 0.5] = (0.0, 0.0, 1.0)
    return normals.astype(np.float32)


def normals_from(
    fine_vertices: np.ndarray, fine_normals: np.ndarray, vertices: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """Normals [V, 3] for a decimated mesh out of the mesh that it came from: smoother, since its slivers have no say.

    The mean of the four nearest fine normals by inverse distance; those that look away from the vertex's own normal
    belong to the other side of a thin wall and do not count.
    """
    distance, index = KDTree(fine_vertices).query(vertices, k=4)
    near = fine_normals[index]
    weight = (np.einsum("vkc,vc->vk", near, normals) > 0) / (distance + 1e-6)
    total = np.einsum("vk,vkc->vc", weight, near)
    agree = np.linalg.norm(total, axis=1, keepdims=True) > 1e-3 * weight.sum(axis=1, keepdims=True)
    return np.where(agree, unit(total), normals).astype(np.float32)


def smooth_normals(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, radius: float) -> np.ndarray:
    """Normals [V, 3] averaged over the surface by a Gaussian of about ``radius`` (its standard deviation).

    By repeated means over neighbours: one moves a quantity by the length of an edge in some direction, so that n add up
    to a variance of n/2 squared edges along each direction. A radius well below an edge changes nothing.
    """
    edge = np.linalg.norm(vertices[faces] - vertices[np.roll(faces, -1, axis=1)], axis=2).mean()
    mean = neighbour_mean(len(vertices), faces)
    smoothed = normals.astype(np.float64)
    for _ in range(round(2 * (radius / edge) ** 2)):
        smoothed = unit(mean @ smoothed)
    return smoothed.astype(np.float32)


def neighbour_mean(count: int, faces: np.ndarray) -> csr_matrix:
    """The matrix [V, V] that takes values at ``count`` vertices to the mean over each one's neighbours."""
    start, end = directed_edges(faces)
    ones = np.ones(len(start))
    links = coo_matrix((ones, (start, end)), shape=(count, count)).tocsr()
    links = ((links + links.T) > 0).astype(np.float64)
    degree = np.maximum(np.asarray(links.sum(axis=1)).reshape(-1), 1)
    return csr_matrix(diags_array(1 / degree) @ links)


def compact(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop vertices that no face uses."""
    used, index = np.unique(faces, return_inverse=True)
    return vertices[used], index.reshape(faces.shape)


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Outward normals [F, 3] of counter-clockwise faces, twice as long as the faces' areas."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [..., 3] of length 1; zero stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-20)


def parted(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Vertices [V, 3] of which no two lie at one place: but for the first there they go towards their neighbours.

    Whoever welds a mesh by position, as readers of GLB do, would tear it open where two of them fell together.
    """
    vertices = vertices.copy()
    for _ in range(_PARTINGS):
        _, first, place = np.unique(vertices, axis=0, return_index=True, return_inverse=True)
        late = np.flatnonzero(first[place.reshape(-1)] != np.arange(len(vertices)))
        if len(late) == 0:
            break
        mean = neighbour_mean(len(vertices), faces.astype(np.int64))
        way = (mean @ vertices.astype(np.float64))[late] - vertices[late]
        vertices[late] = (vertices[late] + _PARTED * way).astype(vertices.dtype)
    return vertices
