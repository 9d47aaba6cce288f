"""Runs inside Blender: imports a GLB as a person would, tells what came of it, and takes a picture in flat light.

Job: ``path``; ``arrays`` (where to write an npz: vertices [V, 3] in the world, metres, +Z up); ``picture`` (null, or
the arguments of ``flat_picture.render``). Result: what ``inspect_blend`` tells, of the imported scene.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # Blender, unlike Python, does not do so itself

import flat_picture
import inspect_blend
from job import finish, read_job, tell


def inspect(job: dict[str, Any]) -> dict[str, Any]:
    """Import into an empty file with the importer's default settings; look; draw."""
    tell(0.0, "importing the GLB")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=job["path"])
    found = inspect_blend.facts()
    bodies = [item for item in bpy.data.objects if item.type == "MESH"]
    bpy.context.view_layer.update()
    np.savez(job["arrays"], vertices=np.concatenate([places(body) for body in bodies]))
    if job["picture"]:
        tell(0.5, "taking a picture")
        flat_picture.render(bodies, **job["picture"])
    return found


def places(body: bpy.types.Object) -> np.ndarray:
    """Where the vertices stand in the world, [V, 3]."""
    points = np.empty(3 * len(body.data.vertices), np.float32)
    body.data.vertices.foreach_get("co", points)
    turn = np.array(body.matrix_world)
    return points.reshape(-1, 3) @ turn[:3, :3].T + turn[:3, 3]


if __name__ == "__main__":
    _job, _reply = read_job()
    finish(_reply, inspect(_job))
