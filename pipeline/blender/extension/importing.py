# SPDX-License-Identifier: GPL-3.0-or-later
"""The asset of a run, brought into the scene at the 3D cursor."""

from __future__ import annotations

from pathlib import Path

import bpy


def import_at_cursor(context: bpy.types.Context, file: Path) -> list[bpy.types.Object]:
    """Append a .blend's objects, or import a GLB; they are selected, and stand where the 3D cursor is.

    Raises:
        RuntimeError, OSError: the file cannot be read.
    """
    before = set(bpy.data.objects)
    if file.suffix == ".blend":
        with bpy.data.libraries.load(str(file), link=False) as (there, here):
            here.objects = list(there.objects)
        for item in here.objects:
            context.collection.objects.link(item)
            item.asset_clear()  # a copy in a scene is no library
    else:
        bpy.ops.import_scene.gltf(filepath=str(file), merge_vertices=True)
    made = [item for item in bpy.data.objects if item not in before]
    if not made:
        raise RuntimeError(f"{file.name} holds no object")
    for item in context.view_layer.objects:
        item.select_set(False)
    for item in made:
        if item.parent is None:
            item.location += context.scene.cursor.location
        item.select_set(True)
    context.view_layer.objects.active = made[0]
    return made
