"""A UV atlas for a mesh, cut and packed by xatlas, and how well it fills its texture.

UV frame: u to the right, v upwards, (0, 0) at the picture's lower left; texture row 0 is the top (see ``Mesh``).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np

from ...configs.errors import SlipcastError
from ..mesh.cleaning import face_normals, smooth
from ..mesh.report import face_components, merged, uv_layers
from ..types import Mesh
from .xatlas_process import Atlas, XAtlas

# Round charts, none large for its own sake: the atlas is as full as with larger ones, found in half the time.
_CHARTS = {
    "max_cost": 0.7,
    "straightness_weight": 2.0,
    "normal_seam_weight": 1.0,
}
# How round and how large charts should be, to pack well, depends on the shape: (roundness, the largest one's share of
# the surface). The next pair is tried where ENOUGH is not reached.
_TRIES = ((1.0, 1.0), (1.0, 0.1), (2.0, 1.0), (4.0, 0.1), (0.5, 1.0))
ENOUGH = 0.605
"""Share of the texture that the charts should fill."""
# Steps left by voxels make small charts, so charts are found on a smoothed copy: half as many, and fuller atlases (by
# up to a tenth of the texture). Coarse meshes have no steps, and shapes that smoothing would take away.
_SMOOTHING, _FACES_PER_PASS = 60, 200
# How well charts fit is a matter of luck: they are packed on grids of several sizes, and the fullest one is taken. In
# textures of more than _FULLEST texels, where packing takes long and gaps take little, the first one that is enough.
_GRIDS = (0.846, 0.868, 0.89, 0.912, 0.934, 0.956, 0.978, 1.0)  # of the largest
_LARGEST_GRIDS = (409, 560)  # for textures up to 1024 texels, and for those that need not pad on a finer one
_FULLEST = 1024
_GAP_TEXELS = 5
# Between charts, where the atlas stays full ENOUGH: mip-map n keeps charts apart that lie 2**n texels apart.
_WIDER_GAPS = (24, 16, 12, 10, 7)


@dataclass(frozen=True)
class AtlasReport:
    """used: share of the texels in a chart; overlap: share of those in several faces; in_range: all uv in [0, 1]."""

    charts: int
    used: float
    overlap: float
    in_range: bool

    def as_dict(self) -> dict[str, int | float | bool]:
        """Plain values for JSON."""
        return asdict(self)


def unwrap(mesh: Mesh, *, size: int = 1024) -> Mesh:
    """Cut the mesh into charts and pack them without overlap (xatlas); vertices on seams are doubled.

    ``size`` is the texture's edge that the space between charts is meant for: five texels, so that charts stay apart
    in the next two mip-maps, and up to 24, for two or three more, where the charts fill ENOUGH of it all the same.

    Raises:
        SlipcastError: the charts do not fit into one texture.
    """
    with XAtlas() as xatlas:
        return _fullest(mesh, size, xatlas)


def atlas_report(mesh: Mesh, size: int = 1024) -> AtlasReport:
    """Facts about an unwrapped mesh's atlas, counted at the texel centres of size x size.

    Faces that share an edge do not overlap: centres on an edge count for neither.
    """
    if mesh.uv is None:
        raise ValueError("atlas_report needs a mesh with uv; call unwrap first")
    layers = uv_layers(mesh, size)
    used = np.count_nonzero(layers)
    return AtlasReport(
        charts=int(face_components(mesh.faces).max(initial=-1)) + 1,
        used=float(used / layers.size),
        overlap=float(np.count_nonzero(layers > 1) / max(used, 1)),
        in_range=bool(mesh.uv.min() >= 0 and mesh.uv.max() <= 1),
    )


def _grids(size: int) -> list[int]:
    """Edges of the grids to pack on: as fine as one cell between charts allows, within limits of time.

    Cells smaller than a texel make no fuller atlases, but many more of them lie between charts, which takes long.
    """
    largest = min(size, max(2 * size // _GAP_TEXELS, _LARGEST_GRIDS[0]), _LARGEST_GRIDS[1])
    return [round(share * largest) for share in _GRIDS]


def _without_steps(mesh: Mesh) -> np.ndarray:
    """The vertices [V, 3] float32 on a smoother surface; those at one position stay together."""
    positions, faces = merged(mesh.vertices, mesh.faces)
    passes = min(_SMOOTHING, len(faces) // _FACES_PER_PASS)
    even = mesh.vertices.copy()
    even[mesh.faces] = smooth(positions, faces, passes, along_normals=True)[faces]
    return even


def _fullest(mesh: Mesh, size: int, xatlas: XAtlas) -> Mesh:
    """The first atlas that is full enough, or the fullest of all."""
    best, share, chosen = None, 0.0, None
    even = _without_steps(mesh)
    for roundness, largest in _TRIES:
        charts = _charts(xatlas, mesh, even, roundness, largest)
        for grid, along_axes in product(_grids(size), (True, False)):
            packed = _packed(xatlas, charts, grid, size, along_axes, _GAP_TEXELS)
            if packed is not None and _area(packed) > share:
                best, share, chosen = packed, _area(packed), (charts, grid, size, along_axes)
            if share >= ENOUGH and size > _FULLEST:
                break
        if share >= ENOUGH:
            break
    if best is None or chosen is None:
        raise SlipcastError(
            f"the charts of {len(mesh.faces)} faces do not fit into one texture; lower target_faces"
        )
    for gap in _WIDER_GAPS if share >= ENOUGH else ():
        wider = _packed(xatlas, *chosen, gap)
        if wider is not None and _area(wider) >= ENOUGH:
            return wider
    return best


def _charts(xatlas: XAtlas, mesh: Mesh, even: np.ndarray, roundness: float, largest: float) -> Mesh:
    """The mesh cut into charts as its copy with vertices ``even`` is, each flat and at most ``largest`` of the surface.

    Packed anyhow.
    """
    chart = _CHARTS | {"roundness_weight": roundness}
    if largest < 1:
        twice = np.linalg.norm(face_normals(even, mesh.faces), axis=1).sum()
        chart["max_chart_area"] = largest * float(twice) / 2
    pack = {"resolution": _LARGEST_GRIDS[0]}
    # Charts that spilled onto a second page lie over those of the first, which does no harm: all are packed anew.
    atlas = xatlas.generate(even, mesh.faces, mesh.normals, chart=chart, pack=pack)
    return _taken(mesh, atlas, keep_proportions=True)


def _packed(xatlas: XAtlas, charts: Mesh, grid: int, size: int, along_axes: bool, gap: int) -> Mesh | None:
    """The charts packed without regard to time on a coarse grid; None if they take more than one page."""
    pack = {
        "resolution": grid,
        # Charts take all cells that they touch, which leaves another cell's breadth between them.
        "padding": max(1, math.ceil(gap * grid / size) - 1),
        "bruteForce": True,
        "bilinear": False,  # room for lookups is in the padding
        "rotate_charts_to_axis": along_axes,
    }
    atlas = xatlas.generate(
        charts.vertices,
        charts.faces,
        charts.normals,
        charts.uv,
        chart={"use_input_mesh_uvs": True},
        pack=pack,
    )
    return _taken(charts, atlas) if atlas.pages == 1 else None


def _taken(mesh: Mesh, atlas: Atlas, *, keep_proportions: bool = False) -> Mesh:
    """What xatlas made of the mesh. Its uv fill [0, 1] along both axes, or only the longer one."""
    uv = atlas.uv * (atlas.size / atlas.size.max()) if keep_proportions else atlas.uv
    return Mesh(
        vertices=mesh.vertices[atlas.source],
        faces=atlas.faces.astype(np.int32),
        normals=mesh.normals[atlas.source],
        uv=uv.astype(np.float32).clip(0, 1),
    )


def _area(mesh: Mesh) -> float:
    """Of all faces in the atlas, as a share of it."""
    assert mesh.uv is not None
    corners = mesh.uv[mesh.faces].astype(np.float64)
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return float(0.5 * np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())
