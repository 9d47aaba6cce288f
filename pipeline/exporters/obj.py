"""OBJ files with a material library and pictures beside them: metres, +Y up, -Z forward (Blender's importer's axes).

The material is written for several kinds of readers: the classic lines (Kd, Ks, Ns), the PBR lines of newer programs
(Pr, Pm, map_Pr, map_Pm), and the normal map twice. Blender takes ``map_Bump`` for a tangent-space normal map, with the
strength ``-bm``, but every picture of 8 bits that a material names for sRGB colours (seen in 4.2 and 5.0), which bends
the normals: these lines name EXR pictures. three.js and others look for ``norm``, which names one of 8 bits. MTL has no
line for occlusion.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...systems.mesh.quads import polygons
from ..assets.asset import Asset
from ..assets.pictures import picture
from ..run.staging import write_file
from .axes import to_y_up
from .exr import exr
from .preview import CLAY


def write_obj(asset: Asset, path: Path) -> None:
    """Write <stem>.obj, <stem>.mtl and <stem>_* pictures; the .obj comes last, so that nothing it names is missing.

    Raises:
        SlipcastError: a file cannot be written.
    """
    path = Path(path)
    lines, pictures = _maps(asset, path.stem)
    files = {path.with_name(name): data for name, data in pictures.items()}
    files[path.with_suffix(".mtl")] = _material(asset, lines).encode()
    files[path] = _geometry(asset, path.stem).encode()
    for target, data in files.items():
        write_file(target, "OBJ", data)


def _maps(asset: Asset, stem: str) -> tuple[list[str], dict[str, bytes]]:
    """The material's lines for pictures, and {file name: content} of these."""
    mesh, lines, files = asset.mesh, [], {}

    def add(line: str, name: str, data: bytes) -> None:
        lines.append(f"{line} {name}")
        files[name] = data

    if mesh.uv is not None and mesh.texture is not None:
        file = picture(mesh.texture, "texture", asset.textures)
        add("map_Kd", f"{stem}_basecolor.{file.ending}", file.data)
    for line, kind, values in (
        ("map_Pr", "roughness", _channel(asset, 1)),
        ("map_Pm", "metallic", _channel(asset, 2)),
    ):
        if values is not None and values.min() != values.max():
            add(line, f"{stem}_{kind}.exr", exr(values))
    if mesh.uv is not None and mesh.normal_map is not None:
        add("map_Bump -bm 1", f"{stem}_normal.exr", exr(mesh.normal_map))
        file = picture(mesh.normal_map, "normal_map", asset.textures)
        add("norm", f"{stem}_normal.{file.ending}", file.data)
    return lines, files


def _channel(asset: Asset, index: int) -> np.ndarray | None:
    """Roughness (1) or metallic (2) by texel; MTL has no packing, so each goes its own way."""
    mesh = asset.mesh
    return None if mesh.uv is None or mesh.orm is None else mesh.orm[..., index]


def _mean(values: np.ndarray | None, otherwise: float) -> float:
    return otherwise if values is None else round(float(values.mean()) / 255, 4)


def _material(asset: Asset, maps: list[str]) -> str:
    textured = any(line.startswith("map_Kd") for line in maps)
    color = (1.0, 1.0, 1.0) if textured else CLAY
    roughness = _mean(_channel(asset, 1), asset.roughness)
    lines = [
        "# slipcast",
        f"newmtl {_word(asset.name)}",
        "illum 2",
        f"Kd {color[0]:g} {color[1]:g} {color[2]:g}",
        "Ks 0.5 0.5 0.5",
        f"Ns {1000 * (1 - roughness) ** 2:.4g}",  # the inverse of how Blender turns Ns into roughness
        "Ni 1.5",
        "d 1",
        f"Pr {roughness:g}",
        f"Pm {_mean(_channel(asset, 2), 0.0):g}",
    ]
    return "\n".join([*lines, *maps, ""])


def _geometry(asset: Asset, stem: str) -> str:
    mesh, name = asset.mesh, _word(asset.name)
    corner = "{0}/{0}/{0}" if mesh.uv is not None else "{0}//{0}"
    triangle = f"f {corner} {corner.replace('0', '1')} {corner.replace('0', '2')}".format
    quad = f"{triangle('{0}', '{1}', '{2}')} {corner.replace('0', '3')}".format
    faces = polygons(mesh, quads=asset.quads)
    return "\n".join(
        [
            "# slipcast: metres, +Y up, -Z forward; the object's front looks along +Z",
            f"mtllib {stem}.mtl",
            f"o {name}",
            *_rows("v", to_y_up(mesh.vertices)),
            *([] if mesh.uv is None else _rows("vt", mesh.uv)),
            *_rows("vn", to_y_up(mesh.normals)),
            f"usemtl {name}",
            *(quad(*corners) for corners in (faces.quads + 1).tolist()),
            *(triangle(*corners) for corners in (faces.triangles + 1).tolist()),
            "",
        ]
    )


def _rows(keyword: str, values: np.ndarray) -> list[str]:
    """Lines of numbers with the nine digits that bring a float32 back exactly."""
    row = " ".join([keyword, *["%.9g"] * values.shape[1]])
    return [row % tuple(entries) for entries in values.tolist()]


def _word(name: str) -> str:
    """A name without white space, which ends a name in these files."""
    return "_".join(name.split()) or "asset"
