"""Triangle parts from which the starter's objects are put together: the type, moving, framing, grids.

Frame: right-handed, +Z up, the front looks along -Y. Shapes are drawn at about their final size (half height
0.85), so that wall thicknesses and leg radii mean what they say after `normalise`.
Every surface is a grid (`loft`) whose rows run along the shape and whose columns run around it,
counter-clockwise when the rows come towards the viewer; triangles then face outward.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...systems.lift.surface import framing

BODY, PLAIN, ACCENT, DARK = 0, 1, 2, 3


@dataclass(frozen=True)
class Part:
    """One smooth surface of an object.

    vertices [V, 3] float32, faces [F, 3] int32 (counter-clockwise seen from outside), normals [V, 3] float32
    (unit, outward), uv [V, 2] float32 in [0, 1] (seams have their vertices twice), slot: which material
    (0 body, 1 inside or plain, 2 accent, 3 small dark details such as eyes).
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    slot: int


def make_part(
    vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, uv: np.ndarray, slot: int
) -> Part:
    """A Part in the stored types, without triangles of no area (they have no side to face)."""
    corner = vertices[faces]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    kept = np.ascontiguousarray(faces[area > 1e-9], dtype=np.int32)
    floats = [
        np.ascontiguousarray(array, dtype=np.float32) for array in (vertices, normals, np.clip(uv, 0, 1))
    ]
    return Part(floats[0], kept, floats[1], floats[2], slot)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [..., D] scaled to length 1; a zero vector stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def rotation(axis: str, angle_rad: float) -> np.ndarray:
    """Right-handed rotation matrix [3, 3] about the 'x', 'y' or 'z' axis."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def place(
    part: Part,
    offset: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0),
    *,
    turn: np.ndarray | None = None,
    scale: float | Sequence[float] = 1.0,
) -> Part:
    """Scale (per axis, positive), then turn [3, 3], then move a part; normals follow."""
    factors = np.broadcast_to(np.asarray(scale, dtype=float), (3,))
    matrix = np.eye(3) if turn is None else turn
    vertices = (part.vertices * factors) @ matrix.T + np.asarray(offset, dtype=float)
    normals = unit(part.normals / factors) @ matrix.T
    return replace(part, vertices=vertices.astype(np.float32), normals=normals.astype(np.float32))


def place_all(
    parts: Iterable[Part], offset: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0), **how
) -> list[Part]:
    """`place` for several parts."""
    return [place(part, offset, **how) for part in parts]


def normalise(parts: Sequence[Part]) -> list[Part]:
    """Move and scale all together into the one framing used everywhere."""
    centre, scale = framing(np.concatenate([part.vertices for part in parts]).astype(float))
    return [
        replace(part, vertices=((part.vertices.astype(float) - centre) * scale).astype(np.float32))
        for part in parts
    ]


def grid_normals(grid: np.ndarray, *, ring: bool) -> np.ndarray:
    """Unit normals [R, C, 3] of a grid whose last column repeats the first (and last row too, if `ring`)."""
    quads = np.cross(grid[1:, 1:] - grid[:-1, :-1], grid[1:, :-1] - grid[:-1, 1:])
    around = quads + np.roll(quads, 1, axis=1)
    around = np.concatenate([around, around[:, :1]], axis=1)
    normals = np.zeros_like(grid)
    normals[:-1] += around
    normals[1:] += around
    if ring:
        normals[0] += normals[-1]
        normals[-1] = normals[0]
    for row in (0, -1):
        if np.ptp(grid[row], axis=0).max() < 1e-9:
            # All columns meet in one point (a pole): they must share one normal.
            normals[row] = normals[row].sum(axis=0)
    return unit(normals)


def loft(grid: np.ndarray, slot: int, *, ring: bool = False, v: np.ndarray | None = None) -> Part:
    """The surface through a grid of points [R, C, 3]; the last column repeats the first.

    u runs over the columns; v [R] over the rows (default: evenly). `ring`: the last row repeats the first.
    """
    return loft_sections(grid, [(0, len(grid) - 1, slot)], ring=ring, v=v)[0]


def loft_sections(
    grid: np.ndarray,
    sections: Sequence[tuple[int, int, int]],
    *,
    ring: bool = False,
    v: np.ndarray | None = None,
) -> list[Part]:
    """One surface cut into sections (first row, last row, slot), smooth across the cuts; v is 0..1 each."""
    rows, columns = grid.shape[:2]
    normals = grid_normals(grid, ring=ring)
    steps = np.linalg.norm(np.diff(grid, axis=0), axis=2).max(axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(steps)]) if v is None else v * rows
    parts = []
    for first, last, slot in sections:
        count = last - first + 1
        here = travelled[first : last + 1]
        along = (here - here[0]) / (here[-1] - here[0]) if v is None else v[first : last + 1]
        uv = np.stack(np.meshgrid(np.linspace(0, 1, columns), along), axis=-1)
        corner = (np.arange(count - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
        faces = np.concatenate(
            [
                np.stack([corner, corner + 1, corner + columns + 1], axis=1),
                np.stack([corner, corner + columns + 1, corner + columns], axis=1),
            ]
        )
        cut = slice(first, last + 1)
        flat = (grid[cut].reshape(-1, 3), faces, normals[cut].reshape(-1, 3), uv.reshape(-1, 2))
        parts.append(make_part(*flat, slot))
    return parts
