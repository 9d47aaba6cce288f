"""``.blend`` files: an asset that opens in Blender with its material, its textures packed, and a thumbnail."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...configs.errors import SlipcastError
from ...systems.mesh.quads import polygons
from ..assets.asset import Asset
from ..assets.pictures import map_files
from ..run.staging import scratch_folder, write_file
from .catalogues import catalogue_id
from .process import Blender, OnProgress, find_blender, run_script

PREVIEW = {"size": 512, "samples": 16}
_SHOWN = ("author", "description", "licence", "copyright", "tags", "catalogue")
_ROLES = {"texture": "basecolor", "normal_map": "normal", "orm": "orm"}
_INT32 = 2**31  # Blender's custom properties are 32-bit integers


def write_blend(asset: Asset, path: Path, *, blender: Path | None = None, preview: bool = True) -> None:
    """Write one .blend file, whole or not at all, with Blender in a process of its own.

    Args:
        asset: ``facts`` become custom properties of the object; author, description, licence, copyright, tags (a list)
            and catalogue (a path such as ``slipcast/starter``) become what the asset browser shows.
        blender: a Blender, or a Python that can import bpy; looked for if left out.
        preview: render a thumbnail with Cycles.

    Raises:
        BadInput: no Blender that could be used.
        SlipcastError: Blender failed, or the file it wrote does not hold what it should.
    """
    build_blend(asset, path, find_blender(blender), preview=preview)


def build_blend(
    asset: Asset,
    path: Path,
    blender: Blender,
    *,
    preview: bool = True,
    picture: Path | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """As ``write_blend``, with a Blender already found; returns what Blender read back from the file.

    Args:
        picture: where to keep the thumbnail as a PNG too.
    """
    path = Path(path)
    with scratch_folder("handing the asset to Blender") as folder:
        job = asset_job(asset, folder, "asset.blend")
        kept = str(picture.resolve()) if picture else ""
        render = PREVIEW | {"threads": cycles_threads(), "picture": kept}
        job["preview"] = render if preview else None
        found = run_script(blender, "build_asset.py", job, folder, on_progress=on_progress)
        lost = lost_parts(found, job)
        if not found["objects"] or found["objects"][0]["asset"] is None:
            lost.append("the object is not marked as an asset")
        refuse_lost(asset, ".blend", lost)
        data = Path(job["output"]).read_bytes()
    write_file(path, ".blend file", data)
    return found


def inspect_blend(path: Path, *, blender: Path | None = None) -> dict[str, Any]:
    """What a .blend file holds, as Blender sees it: objects, bounds, materials, pictures, missing files."""
    found = find_blender(blender)
    with scratch_folder("asking Blender about a file") as folder:
        return run_script(found, "inspect_blend.py", {"path": str(Path(path).resolve())}, folder)


def asset_job(asset: Asset, folder: Path, output: str) -> dict[str, Any]:
    """What a script needs to build the asset's object, with its arrays and pictures in a folder of ours.

    Raises:
        SlipcastError: the mesh has no faces, or places that are no numbers.
    """
    mesh = asset.mesh
    faces = np.asarray(mesh.faces)
    if not len(faces) or not np.isfinite(mesh.vertices).all():
        raise SlipcastError(
            f"the mesh of {asset.name!r} has no faces or places that are no numbers; run the mesh stage again"
        )
    # Paired before seams are joined, so that no quad lies across one.
    shapes = polygons(mesh, quads=asset.quads)
    corners = shapes.corners
    vertices, index = weld(np.asarray(mesh.vertices), faces)
    arrays: dict[str, Any] = {"vertices": vertices, "corners": index[corners], "sizes": shapes.sizes}
    arrays["corner_normals"] = mesh.normals[corners]
    textures: dict[str, str] = {}
    if mesh.uv is not None:
        arrays["corner_uv"] = mesh.uv[corners]
        for role, picture in map_files(mesh, asset.textures).items():
            file = folder / f"{_ROLES[role]}.{picture.ending}"
            file.write_bytes(picture.data)
            textures[_ROLES[role]] = str(file)
    np.savez(folder / "mesh.npz", **arrays)
    facts = asset.facts
    return {
        "name": asset.name,
        "mesh": str(folder / "mesh.npz"),
        "faces": len(shapes),
        "textures": textures,
        "roughness": asset.roughness,
        "metallic": 0.0,
        "asset": _shown(facts),
        "properties": properties({key: value for key, value in facts.items() if key not in _SHOWN}),
        "output": str(folder / output),
    }


def weld(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join vertices at the same place: vertices [V, 3], faces [F, 3] -> fewer vertices, and where each went, [V] int32.

    A UV atlas doubles the vertices along its seams; Blender keeps UVs and normals at the corners of faces and needs
    no such doubles, which would tear the surface when it is sculpted or smoothed. Where joining would spoil a face or
    lay two on each other, everything stays as it is.
    """
    places, index = np.unique(vertices, axis=0, return_inverse=True)
    index = index.reshape(-1).astype(np.int32)
    ordered = np.sort(index[faces], axis=1)
    spoilt = (ordered[:, 1:] == ordered[:, :-1]).any()
    if spoilt or len(np.unique(ordered, axis=0)) < len(faces):
        return vertices, np.arange(len(vertices), dtype=np.int32)
    return places, index


def properties(facts: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Facts as Blender's custom properties: numbers and texts as they are, the rest as JSON text."""
    kept: dict[str, str | int | float | bool] = {}
    for name, value in facts.items():
        if isinstance(value, int) and not -_INT32 <= value < _INT32:
            kept[name] = str(value)
        elif isinstance(value, str | int | float):
            kept[name] = value
        elif value is not None:
            kept[name] = json.dumps(value, ensure_ascii=False)
    return {name.encode()[:60].decode(errors="ignore"): value for name, value in kept.items()}


def _shown(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the asset browser shows, in Blender's words."""
    catalogue = facts.get("catalogue")
    return {
        "author": str(facts.get("author") or ""),
        "description": str(facts.get("description") or facts.get("prompt") or ""),
        "license": str(facts.get("licence") or ""),
        "copyright": str(facts.get("copyright") or ""),
        "tags": [str(tag) for tag in facts.get("tags") or ("slipcast",)],
        "catalog_id": catalogue_id(catalogue) if catalogue else "",
    }


def lost_parts(found: Mapping[str, Any], job: Mapping[str, Any]) -> list[str]:
    """What a file lost on the way, as sentences: faces, pictures."""
    objects, lost = found["objects"], []
    if len(objects) != 1 or objects[0].get("faces") != job["faces"]:
        kept = objects[0].get("faces", 0) if objects else 0
        lost.append(f"{kept} of {job['faces']} faces are there (the mesh has doubled or empty ones)")
    if found["missing_files"] or len(found["images"]) != len(job["textures"]):
        lost.append("not every texture is packed")
    return lost


def refuse_lost(asset: Asset, kind: str, lost: list[str]) -> None:
    """SlipcastError if anything was lost."""
    if lost:
        raise SlipcastError(
            f"the {kind} file of {asset.name!r} was not written: read back, {' and '.join(lost)}; "
            "run the mesh stage again"
        )


def cycles_threads() -> int:
    """Threads for Cycles: as many as OMP_NUM_THREADS allows everything else here; 0 leaves it to Blender."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() else 0
