"""Facts about a mesh or a picture that anyone can check: closed, how many pieces, which genus, do two outlines agree.

Vertices that a UV seam has doubled are merged by position first: an unwrapped mesh gets the answers of the bare one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..compiled import compiled
from ..types import Mesh


@dataclass(frozen=True)
class MeshReport:
    """What the manifest says about a mesh; lengths are in the object's frame (the box is 2 wide)."""

    faces: int
    vertices: int
    components: int
    euler_number: int
    watertight: bool
    outward: bool
    volume: float

    def as_dict(self) -> dict[str, int | float | bool]:
        """Plain values for JSON."""
        return asdict(self)


def report(mesh: Mesh) -> MeshReport:
    """All checks of this file on one mesh; ``vertices`` counts positions, not seam copies."""
    positions, faces = merged(mesh.vertices, mesh.faces)
    return MeshReport(
        faces=len(faces),
        vertices=len(positions),
        components=int(face_components(faces).max(initial=-1)) + 1,
        euler_number=euler_number(faces),
        watertight=is_watertight(faces),
        outward=is_outward(positions, faces),
        volume=signed_volume(positions, faces),
    )


def merged(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] and faces [F, 3] with exactly equal positions made one vertex."""
    positions, index = np.unique(vertices, axis=0, return_inverse=True)
    return positions, index.reshape(-1)[faces]


def is_watertight(faces: np.ndarray) -> bool:
    """True if every directed edge occurs once and its opposite once: closed, two-manifold at edges, one orientation."""
    if len(faces) == 0:
        return False
    if (faces == np.roll(faces, 1, axis=1)).any():
        return False
    span = np.int64(faces.max()) + 1
    start, end = directed_edges(faces)
    forward = np.sort(start * span + end)
    backward = np.sort(end * span + start)
    return bool((np.diff(forward) > 0).all() and np.array_equal(forward, backward))


def euler_number(faces: np.ndarray) -> int:
    """V - E + F: 2 for each closed piece without handles, 0 for a torus."""
    start, end = directed_edges(faces)
    span = np.int64(faces.max(initial=0)) + 1
    edges = np.unique(np.minimum(start, end) * span + np.maximum(start, end))
    return len(np.unique(faces)) - len(edges) + len(faces)


def edge_pairs(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges shared by two faces, each once: the corners (numbered 3 face + k) where it starts in one and in the other.

    The edge of corner i runs from it to its face's next corner, and the other way in the other face.
    """
    start, end = directed_edges(faces)
    span = np.int64(faces.max(initial=0)) + 1
    order = np.argsort(start * span + end)
    keys = (start * span + end)[order]
    at = np.searchsorted(keys, end * span + start).clip(max=len(keys) - 1)
    twin = order[at]
    found = (keys[at] == end * span + start) & (np.arange(len(start)) < twin)
    return np.flatnonzero(found), twin[found]


def next_corner(corner: np.ndarray) -> np.ndarray:
    """The corner (numbered 3 face + k) that follows in its face."""
    return corner // 3 * 3 + (corner + 1) % 3


def face_components(faces: np.ndarray) -> np.ndarray:
    """The connected piece of every face, [F] integers from 0."""
    if len(faces) == 0:
        return np.zeros(0, np.int64)
    start, end = directed_edges(faces)
    size = int(faces.max()) + 1
    graph = coo_matrix((np.ones(len(start), bool), (start, end)), shape=(size, size))
    of_vertex = connected_components(graph, directed=False)[1]
    return np.unique(of_vertex[faces[:, 0]], return_inverse=True)[1]


def face_volumes(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Signed volume of the tetrahedron between every face and the origin, [F]; their sum is the enclosed volume."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)) / 6


def signed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """The enclosed volume, positive if the faces look outward."""
    return float(face_volumes(vertices, faces).sum())


def is_outward(vertices: np.ndarray, faces: np.ndarray) -> bool:
    """True if every connected piece encloses a positive volume."""
    volumes = np.bincount(face_components(faces), face_volumes(vertices, faces))
    return bool(len(volumes) and (volumes > 0).all())


def silhouette_iou(alpha_a: np.ndarray, alpha_b: np.ndarray, level: float = 0.5) -> float:
    """Intersection over union of two coverages [H, W] cut at ``level``; 1 if both are empty."""
    if alpha_a.shape != alpha_b.shape:
        raise ValueError(
            f"silhouette_iou compares pictures of one size, not {alpha_a.shape} and {alpha_b.shape}"
        )
    a, b = alpha_a > level, alpha_b > level
    union = np.count_nonzero(a | b)
    return 1.0 if union == 0 else np.count_nonzero(a & b) / union


def uv_layers(mesh: Mesh, size: int) -> np.ndarray:
    """How many faces lie over each texel centre of a size x size atlas, [size, size]; 2 or more is an overlap."""
    if mesh.uv is None:
        raise ValueError("uv_layers needs a mesh with uv; call unwrap first")
    texels = mesh.uv.astype(np.float64) * size
    return _count_layers(texels[mesh.faces], size)


def directed_edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the edge of every corner, numbered 3 face + k, starts and ends: vertex indices [3 F] and [3 F]."""
    return faces.astype(np.int64).reshape(-1), np.roll(faces, -1, axis=1).astype(np.int64).reshape(-1)


@compiled()
def _count_layers(triangles, size):
    """triangles [F, 3, 2] in texels, v upwards. Centres on an edge count for no face: a shared edge is no overlap."""
    layers = np.zeros((size, size), np.int32)
    for f in range(len(triangles)):
        ax, ay = triangles[f, 0]
        bx, by = triangles[f, 1]
        cx, cy = triangles[f, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-12:
            continue
        tolerance = 1e-3  # Of a face's own height: float32 coordinates of neighbours differ by rounding.
        for y in range(max(0, int(min(ay, by, cy))), min(size, int(max(ay, by, cy)) + 1)):
            for x in range(max(0, int(min(ax, bx, cx))), min(size, int(max(ax, bx, cx)) + 1)):
                px, py = x + 0.5, y + 0.5
                wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
                wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
                if wa > tolerance and wb > tolerance and 1 - wa - wb > tolerance:
                    layers[size - 1 - y, x] += 1
    return layers
