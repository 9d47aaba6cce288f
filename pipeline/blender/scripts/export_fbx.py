"""Runs inside Blender: an asset's object goes through Blender's own FBX exporter, and comes back through its importer.

Job: as of ``build_asset``; ``asset`` and ``preview`` are not looked at. The result is what ``inspect_blend`` tells of
the imported scene, and ``world`` ([lowest, highest corner] of the object as it stands there).

The file's axes are +Y up and +Z front, its unit is the metre, both said in its header and with nothing left on the
object: no turn and no scale, which engines would show. Its pictures are inside.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).parent))  # Blender, unlike Python, does not do so itself

import build_asset
import inspect_blend
import inspect_glb
from job import finish, read_job, tell


def export(job: dict[str, Any]) -> dict[str, Any]:
    """Build the object, export it, import the file into an empty scene and look."""
    build_asset.make_object(job)
    tell(0.4, "writing the FBX")
    bpy.ops.export_scene.fbx(
        filepath=job["output"],
        check_existing=False,
        object_types={"MESH"},
        apply_scale_options="FBX_SCALE_ALL",
        bake_space_transform=True,
        axis_forward="-Z",
        axis_up="Y",
        use_custom_props=True,
        bake_anim=False,
        path_mode="COPY",
        embed_textures=True,
    )
    tell(0.7, "reading it back")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    # Blender 4.5 brings a second importer, which one day will be the only one.
    read = bpy.ops.import_scene.fbx if "fbx" in dir(bpy.ops.import_scene) else bpy.ops.wm.fbx_import
    read(filepath=job["output"])
    bpy.context.view_layer.update()
    bodies = [item for item in bpy.data.objects if item.type == "MESH"]
    places = [inspect_glb.places(body) for body in bodies]
    world = [[points.min(0).tolist(), points.max(0).tolist()] for points in places]
    return inspect_blend.facts() | {"world": world[0] if world else None}


if __name__ == "__main__":
    _job, _reply = read_job()
    finish(_reply, export(_job))
