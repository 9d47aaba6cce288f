"""FBX files, written by Blender's own exporter: the format has no open description, and engines expect that one's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...configs.errors import SlipcastError
from ..assets.asset import Asset
from ..run.staging import scratch_folder, write_file
from .process import Blender, OnProgress, find_blender, run_script
from .writer import asset_job, lost_parts, refuse_lost

_MOVED = 1e-4  # of the object's height: how far off a corner may be read back


def write_fbx(asset: Asset, path: Path, *, blender: Path | None = None) -> None:
    """Write one FBX file (binary, version 7.4), whole or not at all, with Blender in a process of its own.

    Metres, +Y up, front +Z; triangles or quads with normals and uv; base colour, normals, roughness, metallic inside,
    as FBX materials know no occlusion. The facts become custom properties.

    Args:
        blender: a Blender, or a Python that can import bpy; looked for if left out.

    Raises:
        BadInput: no Blender that could be used.
        SlipcastError: Blender failed, or the file it wrote does not hold what it should.
    """
    build_fbx(asset, path, find_blender(blender))


def build_fbx(
    asset: Asset, path: Path, blender: Blender, *, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """As ``write_fbx``, with a Blender already found; returns what Blender read back from the file."""
    path = Path(path)
    with scratch_folder("handing the asset to Blender") as folder:
        job = asset_job(asset, folder, path.name)  # the file says where its pictures go: <its stem>.fbm
        if "orm" in job["textures"]:
            job |= _unpacked(asset, job["textures"], folder)
        found = run_script(blender, "export_fbx.py", job, folder, on_progress=on_progress)
        refuse_lost(asset, "FBX", lost_parts(found, job))
        _check_place(asset, found)
        data = Path(job["output"]).read_bytes()
    write_file(path, "FBX", data)
    return found


def _unpacked(asset: Asset, textures: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """The job's entries with roughness and metallic as numbers, or as grey PNGs where they vary, for ``orm``.

    FBX materials name a picture for each property, so Blender's exporter passes over one that holds several.
    """
    assert asset.mesh.orm is not None
    files, numbers = {role: file for role, file in textures.items() if role != "orm"}, {}
    for role, channel in (("roughness", 1), ("metallic", 2)):
        values = asset.mesh.orm[..., channel]
        numbers[role] = float(values.mean()) / 255
        if values.min() != values.max():
            files[role] = str(folder / f"{role}.png")
            Image.fromarray(np.ascontiguousarray(values)).save(files[role])
    return {"textures": files, **numbers}


def _check_place(asset: Asset, found: Mapping[str, Any]) -> None:
    """Refuse a file whose object stands elsewhere, is turned or of another size."""
    vertices = asset.mesh.vertices
    wanted = np.stack([vertices.min(0), vertices.max(0)])
    if not np.allclose(found["world"], wanted, rtol=0, atol=_MOVED * np.ptp(wanted, axis=0).max()):
        raise SlipcastError(
            f"the FBX file of {asset.name!r} was not written: read back, it reaches from {found['world'][0]} to "
            f"{found['world'][1]} and not from {wanted[0].tolist()} to {wanted[1].tolist()}; use another Blender"
        )
