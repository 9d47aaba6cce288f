"""Runs inside Blender: arrays and pictures become one object, marked as an asset, in a compressed .blend file.

Job: ``mesh`` (npz: vertices [V, 3], corners [C], the vertices of all faces in one row, sizes [F], how many of them each
face has, corner_normals [C, 3], optional corner_uv [C, 2]; +Z up, front along -Y, metres, which is Blender's own frame:
nothing is turned), ``textures`` ({role: picture}), ``roughness``, ``metallic``,
``name``, ``asset`` (author, description, ...), ``properties``, ``preview`` (settings or null), ``output``.
The result is what ``inspect_blend`` reads from the file that was written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # Blender, unlike Python, does not do so itself

import inspect_blend
import material
import preview
from job import finish, read_job, short_name, tell


def build(job: dict[str, Any]) -> dict[str, Any]:
    """Make the object, save it, read it back."""
    body = make_object(job)
    mark_as_asset(body, job["asset"])
    notes = []
    if job["preview"]:
        tell(0.2, "rendering the preview")
        notes = preview.set_preview(body, **job["preview"])
    tell(0.9, "saving")
    bpy.ops.wm.save_as_mainfile(filepath=job["output"], compress=True, check_existing=False)
    tell(0.95, "reading it back")
    return inspect_blend.inspect(job["output"]) | {"notes": notes}


def make_object(job: dict[str, Any]) -> bpy.types.Object:
    """The job's object with its material and properties, alone in an empty file of metres."""
    tell(0.0, "building the object")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    name = short_name(job["name"])
    scene = bpy.context.scene
    scene.unit_settings.system = "METRIC"
    scene.unit_settings.scale_length = 1.0
    scene.unit_settings.length_unit = "METERS"
    body = bpy.data.objects.new(name, make_mesh(name, Path(job["mesh"])))
    scene.collection.objects.link(body)
    surface = material.make_material(name, job["textures"], job["roughness"], job["metallic"])
    body.data.materials.append(surface)
    for key, value in job["properties"].items():
        body[key] = value
    return body


def make_mesh(name: str, path: Path) -> bpy.types.Mesh:
    """A mesh of triangles and quads with a UV map and its own normals."""
    with np.load(path, allow_pickle=False) as arrays:
        vertices, corners, sizes = arrays["vertices"], arrays["corners"], arrays["sizes"]
        normals = arrays["corner_normals"]
        uv = arrays.get("corner_uv")
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
    mesh.loops.add(len(corners))
    mesh.loops.foreach_set("vertex_index", corners.astype(np.int32))
    mesh.polygons.add(len(sizes))
    mesh.polygons.foreach_set("loop_start", (np.cumsum(sizes) - sizes).astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(sizes), bool))
    if uv is not None:
        mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", uv.astype(np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh.validate()  # the count of faces is compared later: what Blender would not keep is told, not hidden
    if len(mesh.loops) == len(normals):
        mesh.normals_split_custom_set(normals.astype(np.float32))
    return mesh


def mark_as_asset(body: bpy.types.Object, told: dict[str, Any]) -> None:
    """Show the object in the asset browser, with all that is known about it."""
    body.asset_mark()
    data = body.asset_data
    for field in ("author", "description", "license", "copyright"):
        setattr(data, field, told.get(field, ""))
    if told.get("catalog_id"):
        data.catalog_id = told["catalog_id"]
    for tag in told.get("tags", ()):
        data.tags.new(tag, skip_if_exists=True)


if __name__ == "__main__":
    _job, _reply = read_job()
    finish(_reply, build(_job))
