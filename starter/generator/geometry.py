"""Solids from which the starter's objects are put together, every one a grid surface (see parts.py).

Turned shapes stand on the z axis; tubes follow a path; boxes and extruded outlines have rounded edges.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .curves import Points, circle, resample, spline
from .parts import ACCENT, BODY, DARK, PLAIN, Part, loft, loft_sections, make_part, normalise, place, unit

# The whole vocabulary of a shape in one place: what the part type and the framing are is said in parts.py.
__all__ = [
    "ACCENT",
    "BODY",
    "DARK",
    "PLAIN",
    "Part",
    "ellipsoid",
    "extrusion",
    "lathe",
    "normalise",
    "place",
    "radius_at",
    "rounded_box",
    "torus",
    "tube",
    "turned_grid",
    "vessel",
]

Warp = Callable[[np.ndarray], np.ndarray]


def turned_grid(
    profile: np.ndarray, columns: int, *, flutes: int = 0, depth: float = 0.0, warp: Warp | None = None
) -> np.ndarray:
    """A profile [R, 2] of (radius, height) turned about z: points [R, columns + 1, 3].

    `flutes` ribs change the radius by the factor 1 + depth cos(flutes * angle); `warp` moves points at last.
    """
    angle = np.linspace(0.0, 2 * np.pi, columns + 1)
    radius = np.maximum(profile[:, :1], 0.0) * (1.0 + depth * np.cos(flutes * angle))
    height = np.broadcast_to(profile[:, 1:], radius.shape)
    grid = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1)
    grid[:, -1] = grid[:, 0]
    return grid if warp is None else warp(grid)


def lathe(profile: np.ndarray, slot: int, *, columns: int = 48, **shape) -> Part:
    """Turn a profile [R, 2] of (radius, height), bottom to top along the outside, about the z axis."""
    return loft(turned_grid(profile, columns, **shape), slot)


def radius_at(profile: np.ndarray, height: float) -> float:
    """Outer radius of a profile (heights rising) at one height."""
    return float(np.interp(height, profile[:, 1], profile[:, 0]))


def inner_wall(profile: np.ndarray, wall: float, floor: float, count: int) -> np.ndarray:
    """The inside of a turned wall [count, 2], rim to floor: no point is nearer than `wall` to the outside.

    An erosion by a disc of radius `wall`; unlike an offset along normals it cannot cross itself.
    Below a stem that is too thin to be hollow the inside ends.
    """
    height = np.linspace(profile[-1, 1], profile[0, 1] + floor, 96)
    fine = resample(profile, 256)
    reach = wall**2 - (height[:, None] - fine[None, :, 1]) ** 2
    eroded = fine[None, :, 0] - np.sqrt(np.maximum(reach, 0.0))
    radius = np.where(reach > 0.0, eroded, np.inf).min(axis=1)
    solid = np.flatnonzero(radius < 0.02)
    stop = solid[0] if len(solid) else len(radius)
    inside = np.stack([radius, height], axis=1)[: max(stop, 2)]
    return resample(np.concatenate([inside, [[0.0, inside[-1, 1]]]]), count)


def vessel(
    controls: Points,
    *,
    wall: float = 0.06,
    floor: float = 0.08,
    slots: tuple[int, int] = (BODY, PLAIN),
    columns: int = 48,
    rows: int = 40,
    flutes: int = 0,
    depth: float = 0.0,
    warp: Warp | None = None,
) -> list[Part]:
    """A turned vessel with a wall, a rounded rim and a hollowed foot.

    controls [K, 2]: (radius, height) from the foot's edge up to the rim, heights rising. Returns three parts:
    outside (slots[0]), rim and inside, underside (both slots[1]).
    """
    outer = spline(controls, rows)
    inner = inner_wall(outer, wall, floor, rows - 12)
    foot, base = outer[0]
    hollow = np.array([[0.0, base + 0.02], [0.80 * foot, base + 0.02], [0.88 * foot, base]])
    middle, half = 0.5 * (outer[-1] + inner[0]), 0.5 * (outer[-1] - inner[0])
    sweep = np.linspace(0.0, np.pi, 7)[1:-1, None]
    up = np.array([-half[1], half[0]])
    rim = middle + np.cos(sweep) * half + np.sin(sweep) * up
    grid = turned_grid(
        np.concatenate([hollow, outer, rim, inner]), columns, flutes=flutes, depth=depth, warp=warp
    )
    start, stop = len(hollow), len(hollow) + rows - 1
    outside, inside = slots
    return loft_sections(grid, [(start, stop, outside), (stop, len(grid) - 1, inside), (0, start, inside)])


def tube(
    path: Points,
    radii: float | Sequence[float],
    slot: int,
    *,
    flat: float = 1.0,
    rows: int = 28,
    columns: int = 14,
    straight: bool = False,
) -> Part:
    """A round tube with domed ends along a smooth path [K, 3]; `radii` are spread evenly over its length.

    `flat` scales the width across the plane in which the path bends (below 1: a strap).
    `straight` takes the path's points as they are, with as many rows as points.
    """
    centre = np.asarray(path, dtype=float) if straight else spline(path, rows)
    given = np.atleast_1d(np.asarray(radii, dtype=float))
    radius = np.interp(np.linspace(0, 1, len(centre)), np.linspace(0, 1, len(given)), given)
    ahead = unit(np.gradient(centre, axis=0))
    side, across = transported_frames(centre, ahead)
    dome = np.radians([90.0, 60.0, 30.0])
    spine = np.concatenate(
        [
            centre[0] - np.outer(np.sin(dome) * radius[0], ahead[0]),
            centre,
            centre[-1] + np.outer(np.sin(dome[::-1]) * radius[-1], ahead[-1]),
        ]
    )
    width = np.concatenate([np.cos(dome) * radius[0], radius, np.cos(dome[::-1]) * radius[-1]])
    side, across = (np.concatenate([frame[:1]] * 3 + [frame] + [frame[-1:]] * 3) for frame in (side, across))
    ring = np.concatenate([circle(1.0, flat, columns), [[1.0, 0.0]]])
    grid = spine[:, None] + width[:, None, None] * (
        ring[None, :, :1] * side[:, None] + ring[None, :, 1:] * across[:, None]
    )
    grid[0], grid[-1] = spine[0], spine[-1]
    return loft(grid, slot)


def transported_frames(centre: np.ndarray, ahead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors [R, 3] each, across a curve, carried along it without twist; side x across = ahead."""
    bend = np.linalg.svd(centre - centre.mean(axis=0), full_matrices=True)[2][2]
    across = bend - (bend @ ahead[0]) * ahead[0]
    frames = []
    for direction in ahead:
        across = unit(across - (across @ direction) * direction)
        frames.append(across)
    carried = np.array(frames)
    return np.cross(carried, ahead), carried


def ellipsoid(
    centre: Sequence[float] | np.ndarray, radii: float | Sequence[float], slot: int, *, rows: int = 18
) -> Part:
    """An ellipsoid with the given half axes."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, rows)
    profile = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    profile[[0, -1], 0] = 0.0
    return place(lathe(profile, slot, columns=2 * (rows - 1)), centre, scale=radii)


def torus(radius: float, thickness: float, slot: int, *, rows: int = 20, columns: int = 56) -> Part:
    """A ring about the z axis: `radius` to the middle of the tube, `thickness` the tube's own radius."""
    section = circle(thickness, thickness, rows) + np.array([radius, 0.0])
    section = np.concatenate([section, section[:1]])
    return loft(turned_grid(section, columns), slot, ring=True)


def rounded_box(
    centre: Sequence[float], half: Sequence[float], slot: int, *, bevel: float = 0.04, cuts: int = 5
) -> Part:
    """A box with rounded edges; each side has its own uv square."""
    size = np.asarray(half, dtype=float)
    bevel = min(bevel, 0.9 * float(size.min()))
    core = size - bevel
    corner = np.tan(np.radians([45.0, 22.5]))
    patches = []
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        ticks = []
        for other in (first, second):
            outer = core[other] + bevel * corner
            ticks.append(np.concatenate([-outer, np.linspace(-core[other], core[other], cuts), outer[::-1]]))
        for sign in (-1.0, 1.0):
            grid = np.zeros((len(ticks[1]), len(ticks[0]), 3))
            grid[..., axis] = sign * size[axis]
            # Columns run backwards on the negative side, so that the triangles still face outward.
            grid[..., first] = sign * ticks[0]
            grid[..., second] = ticks[1][:, None]
            patches.append(grid)
    return box_from_patches(patches, core, bevel, np.asarray(centre, dtype=float), slot)


def box_from_patches(
    patches: Sequence[np.ndarray], core: np.ndarray, bevel: float, centre: np.ndarray, slot: int
) -> Part:
    """Project points of a plain box [six grids] on the surface at distance `bevel` around the core box."""
    vertices, normals, uvs, faces, offset = [], [], [], [], 0
    for grid in patches:
        inside = np.clip(grid, -core, core)
        outward = unit(grid - inside)
        rows, columns = grid.shape[:2]
        vertices.append((centre + inside + bevel * outward).reshape(-1, 3))
        normals.append(outward.reshape(-1, 3))
        uvs.append(
            np.stack(np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows)), -1).reshape(-1, 2)
        )
        first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel() + offset
        faces.append(np.stack([first, first + 1, first + columns + 1], axis=1))
        faces.append(np.stack([first, first + columns + 1, first + columns], axis=1))
        offset += rows * columns
    whole = [np.concatenate(pieces) for pieces in (vertices, faces, normals, uvs)]
    return make_part(whole[0], whole[1], whole[2], whole[3], slot)


def extrusion(outline: Points, half_depth: float, slot: int, *, bevel: float = 0.03) -> Part:
    """A flat outline [K, 2] of (x, z), counter-clockwise seen from the front (-Y), 2 half_depth thick in y.

    The outline must be star-shaped around the mean of its points; edges are rounded by `bevel`.
    uv is (x, z) stretched to the outline's bounding box.
    """
    points = np.asarray(outline, dtype=float)
    bevel = min(bevel, 0.9 * half_depth)
    closed = np.concatenate([points, points[:1]])
    edge = unit(np.diff(closed, axis=0))
    outward = np.stack([edge[:, 1], -edge[:, 0]], axis=1)
    outward = unit(outward + np.roll(outward, 1, axis=0))
    middle = points.mean(axis=0)
    rows = [(np.broadcast_to(middle, points.shape), half_depth)]
    for angle in np.radians([90.0, 60.0, 30.0, 0.0]):
        rows.append(
            (points - bevel * (1 - np.cos(angle)) * outward, half_depth - bevel * (1 - np.sin(angle)))
        )
    inner = rows[1][0]
    rows.insert(1, (middle + 0.97 * (inner - middle), half_depth))
    layers = [(ring, depth) for ring, depth in rows] + [(ring, -depth) for ring, depth in rows[::-1]]
    grid = np.stack([np.stack([ring[:, 0], np.full(len(ring), y), ring[:, 1]], axis=1) for ring, y in layers])
    part = loft(np.concatenate([grid, grid[:, :1]], axis=1), slot)
    low, high = points.min(axis=0), points.max(axis=0)
    return replace(part, uv=np.clip((part.vertices[:, [0, 2]] - low) / (high - low), 0, 1).astype(np.float32))
