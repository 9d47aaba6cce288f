"""STL files for printing: binary, closed and manifold, in millimetres (slicers read STL so), +Z up, on the bed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...configs.errors import SlipcastError
from ...systems.mesh.report import is_outward, is_watertight, merged
from ..assets.asset import Asset
from ..run.staging import write_file

_HEADER = b"slipcast binary STL, millimetres, +Z up"  # must not begin with "solid", which announces text
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_stl(asset: Asset, path: Path) -> None:
    """Write <stem>.stl, whole or not at all.

    Raises:
        SlipcastError: the surface is not closed, so that it has no inside to print; or the file cannot be written.
    """
    path = Path(path)
    corners = _solid(asset)
    table = np.zeros(len(corners), _TRIANGLE)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    table["normal"] = normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-30)
    table["corners"] = corners
    data = _HEADER.ljust(80) + np.array([len(table)], "<u4").tobytes() + table.tobytes()
    write_file(path, "STL", data)


def _solid(asset: Asset) -> np.ndarray:
    """The triangles' corners in millimetres, float64 [F, 3, 3] of float32 values, after checking that they enclose."""
    # Rounded before merging: what a slicer cannot tell apart must be one vertex here too.
    millimetres = (asset.mesh.vertices.astype(np.float64) * 1000).astype(np.float32)
    positions, faces = merged(millimetres, asset.mesh.faces)
    # Doubled seam vertices that fell together leave faces without area; a closed surface stays closed without them.
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    if not is_watertight(faces):
        raise SlipcastError("the surface is not closed, so it cannot be printed; run the mesh stage again")
    positions = positions.astype(np.float64)
    if not is_outward(positions, faces):
        faces = faces[:, ::-1]
    return positions[faces]
