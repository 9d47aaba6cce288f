"""PLY files: binary, one colour for each vertex, for programs that work on points. Metres, +Z up, front -Y.

The colours are the texture's at the vertices, so they are only as fine as the mesh. There are no texture coordinates:
readers that find some look for a picture and forget the colours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...systems.texture.lookup import sample_texture
from ..assets.asset import Asset
from ..run.staging import write_file
from .preview import CLAY

_TYPES = {"<f4": "float", "u1": "uchar"}
_COLUMNS = ((("x", "y", "z"), "<f4"), (("nx", "ny", "nz"), "<f4"), (("red", "green", "blue"), "u1"))


def write_ply(asset: Asset, path: Path) -> None:
    """Write <stem>.ply, whole or not at all.

    Raises:
        SlipcastError: the file cannot be written.
    """
    path = Path(path)
    data = _header(asset) + _vertices(asset).tobytes() + _faces(asset).tobytes()
    write_file(path, "PLY", data)


def vertex_colors(asset: Asset) -> np.ndarray:
    """The texture's colour at each vertex, sRGB, [V, 3] uint8; clay where there is no texture."""
    mesh = asset.mesh
    if mesh.uv is None or mesh.texture is None:
        return np.tile((np.array(CLAY) * 255 + 0.5).astype(np.uint8), (len(mesh.vertices), 1))
    return (sample_texture(mesh.texture, mesh.uv) * 255 + 0.5).astype(np.uint8)


def _vertices(asset: Asset) -> np.ndarray:
    table = np.zeros(len(asset.mesh.vertices), [(name, kind) for names, kind in _COLUMNS for name in names])
    blocks = (asset.mesh.vertices, asset.mesh.normals, vertex_colors(asset))
    for (names, _), values in zip(_COLUMNS, blocks, strict=True):
        for k, name in enumerate(names):
            table[name] = values[:, k]
    return table


def _faces(asset: Asset) -> np.ndarray:
    table = np.zeros(len(asset.mesh.faces), [("count", "u1"), ("corners", "<i4", 3)])
    table["count"], table["corners"] = 3, asset.mesh.faces
    return table


def _header(asset: Asset) -> bytes:
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        "comment slipcast: metres, +Z up, front -Y, colours sRGB",
        f"element vertex {len(asset.mesh.vertices)}",
        *(f"property {_TYPES[kind]} {name}" for names, kind in _COLUMNS for name in names),
        f"element face {len(asset.mesh.faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    return ("\n".join(lines) + "\n").encode("ascii")
