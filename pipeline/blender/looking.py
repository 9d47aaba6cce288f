"""A GLB as Blender sees it after importing it, in numbers and in a picture: how it is checked that artists get ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...systems.field.cameras import Camera
from ..run.staging import scratch_folder
from .process import Blender, run_script
from .writer import cycles_threads


@dataclass(frozen=True)
class Look:
    """What became of a GLB in Blender.

    Attributes:
        facts: as ``writer.inspect_blend`` tells them.
        vertices: of all meshes, [V, 3] in Blender's world: metres, +Z up.
        rgba: the picture, [S, S, 4] uint8, sRGB, straight alpha; None if none was asked for.
    """

    facts: dict[str, Any]
    vertices: np.ndarray
    rgba: np.ndarray | None


def look_at_glb(
    path: Path, blender: Blender, *, camera: Camera | None = None, size: int = 256, samples: int = 16
) -> Look:
    """Import a GLB with Blender's default settings, look, and draw it unshaded with Cycles if a camera is given.

    Args:
        camera: in Blender's world, which is the frame of assets; a Blender camera has the same axes as ours.
        size: pixels along each side of the picture.
        samples: rays per pixel.

    Raises:
        SlipcastError: Blender failed, or cannot import the file.
    """
    with scratch_folder("looking at a GLB with Blender") as folder:
        arrays, picture = folder / "arrays.npz", folder / "picture.png"
        job: dict[str, Any] = {"path": str(Path(path).resolve()), "arrays": str(arrays), "picture": None}
        if camera is not None:
            job["picture"] = {
                "path": str(picture),
                "size": size,
                "samples": samples,
                "threads": cycles_threads(),
                "cam_to_world": camera.cam_to_world.tolist(),
                "fov_rad": camera.fov_y_rad,
            }
        facts = run_script(blender, "inspect_glb.py", job, folder)
        with np.load(arrays, allow_pickle=False) as held:
            vertices = held["vertices"]
        rgba = None if camera is None else np.asarray(Image.open(picture).convert("RGBA"))
    return Look(facts, vertices, rgba)
