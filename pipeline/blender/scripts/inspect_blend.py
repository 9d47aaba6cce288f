"""Runs inside Blender: opens a .blend file and tells what is in it, as JSON.

Job: ``path``. Result: see ``inspect``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # Blender, unlike Python, does not do so itself

from job import finish, read_job


def inspect(path: str) -> dict[str, Any]:
    """Facts about a file as it lies on disk: its objects, its pictures, and what it would miss elsewhere."""
    bpy.ops.wm.open_mainfile(filepath=path, load_ui=False)
    return facts()


def facts() -> dict[str, Any]:
    """The same about what is open in Blender now."""
    images = [image for image in bpy.data.images if image.source == "FILE"]
    return {
        "blender": bpy.app.version_string,
        "file_version": list(bpy.data.version),
        "unit_scale": bpy.context.scene.unit_settings.scale_length,
        "scenes": len(bpy.data.scenes),
        "objects": [_object(item) for item in bpy.data.objects],
        "images": {
            image.name: {
                "size": list(image.size),
                "packed": image.packed_file is not None,
                "colorspace": image.colorspace_settings.name,
                "filepath": image.filepath,
            }
            for image in images
        },
        "missing_files": [
            image.filepath
            for image in images
            if image.packed_file is None and not Path(bpy.path.abspath(image.filepath)).is_file()
        ],
        "libraries": [library.filepath for library in bpy.data.libraries],
    }


def _object(item: bpy.types.Object) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": item.name,
        "type": item.type,
        "location": list(item.location),
        "rotation": list(item.rotation_euler),
        "scale": list(item.scale),
        "properties": {key: item[key] for key in item.keys() if isinstance(item[key], (str, int, float))},  # noqa: SIM118
        "asset": _asset(item),
    }
    if item.type == "MESH":
        facts |= _mesh(item.data)
    return facts


def _mesh(mesh: bpy.types.Mesh) -> dict[str, Any]:
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    points = points.reshape(-1, 3)
    uses = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("edge_index", uses)
    return {
        "mesh": mesh.name,
        "faces": len(mesh.polygons),
        "quads": sum(polygon.loop_total == 4 for polygon in mesh.polygons),
        "vertices": len(mesh.vertices),
        "bounds": [points.min(0).tolist(), points.max(0).tolist()],
        "watertight": bool((np.bincount(uses, minlength=len(mesh.edges)) == 2).all()),
        "uv_maps": [layer.name for layer in mesh.uv_layers],
        "custom_normals": bool(mesh.has_custom_normals),
        "materials": {slot.name: _links(slot) for slot in mesh.materials},
    }


def _links(material: bpy.types.Material) -> list[str]:
    """``Node.Output > Node.Input`` of every link, with a picture's role for its node."""
    return sorted(
        f"{_label(link.from_node)}.{link.from_socket.name} > {_label(link.to_node)}.{link.to_socket.name}"
        for link in material.node_tree.links
    )


def _label(node: bpy.types.Node) -> str:
    if node.type == "GROUP":
        return node.node_tree.name
    return node.label or node.bl_label


def _asset(item: bpy.types.Object) -> dict[str, Any] | None:
    data = item.asset_data
    if data is None:
        return None
    facts = {
        field: getattr(data, field)
        for field in ("author", "description", "license", "copyright", "catalog_id")
    }
    size = list(item.preview.image_size) if item.preview is not None else [0, 0]
    return facts | {"tags": sorted(tag.name for tag in data.tags), "preview": size}


if __name__ == "__main__":
    _job, _reply = read_job()
    finish(_reply, inspect(_job["path"]))
