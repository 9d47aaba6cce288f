"""A box with a knob and all maps, and a run folder with a painted ball on a stick: what real Blender is tested on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from fakes.solid_fields import SolidField, position_color
from fakes.stage_records import finish

from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.exporters.glb import write_glb
from slipcast.systems.field.voxels import VoxelField
from slipcast.systems.mesh.extraction import extract_surface
from slipcast.systems.texture.atlas import unwrap
from slipcast.systems.texture.colour_baking import bake
from slipcast.systems.types import Mesh

STAGES = ("30-refine", "40-mesh", "50-export")
FACTS = {
    "prompt": "a box",
    "seed": 2**40,
    "models": {"base": {"id": "x", "licence": "MIT"}},
    "author": "A. Potter",
    "licence": "CC0-1.0",
    "copyright": "2026 A. Potter",
    "tags": ["box", "test"],
    "description": "A box with a knob.",
    "catalogue": "slipcast/starter",
}


def cube() -> Mesh:
    """A box 1 m wide, 2 m deep, 3 m high on the ground, with a knob in front of it so that no two sides look alike.

    Each side has vertices and a strip of the atlas of its own, as after an unwrap; all three maps.
    """
    corners, normals, faces, uv = [], [], [], []
    boxes = [((-0.5, -1.0, 0.0), (0.5, 1.0, 3.0)), ((-0.1, -1.5, 2.0), (0.1, -1.1, 2.5))]
    for low, high in boxes:
        for axis in range(3):
            for sign in (-1, 1):
                u, v = ((axis + 1) % 3, (axis + 2) % 3)[::sign]
                start = len(corners)
                for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)):
                    place = [0.0, 0.0, 0.0]
                    place[axis] = (low, high)[sign > 0][axis]
                    place[u], place[v] = (low, high)[a][u], (low, high)[b][v]
                    corners.append(place)
                    normals.append([sign * (i == axis) for i in range(3)])
                    uv.append([(start / 4 + a) / 12, b])
                faces += [[start, start + 1, start + 2], [start, start + 2, start + 3]]
    shades = np.arange(16, dtype=np.uint8)[None, :, None] * 8 + np.array([0, 60, 120], np.uint8)
    return Mesh(
        vertices=np.array(corners, np.float32),
        faces=np.array(faces, np.int32),
        normals=np.array(normals, np.float32),
        uv=np.array(uv, np.float32),
        texture=np.broadcast_to(shades, (16, 16, 3)).copy(),
        normal_map=np.full((16, 16, 3), (128, 128, 255), np.uint8),
        orm=np.full((16, 16, 3), (200, 90, 0), np.uint8),
    )


def ball_run(runs: Path) -> Path:
    """A run with a real field and mesh (a ball on a stick, painted by position) and its GLB, as the stages leave it."""

    def distance(points: torch.Tensor) -> torch.Tensor:
        ball = (points - points.new_tensor([0.0, 0.0, 0.25])).norm(dim=1) - 0.5
        stick = torch.maximum(points[:, :2].norm(dim=1) - 0.2, points[:, 2].abs() - 0.6)
        return torch.minimum(ball, stick)

    field = SolidField(distance, softness=0.1, color=position_color)
    mesh = bake(
        unwrap(extract_surface(field, resolution=48, target_faces=1500).reduced, size=128), field, size=128
    )
    folder = runs / "a-ball-3"
    for stage in STAGES:
        (folder / stage).mkdir(parents=True)
    VoxelField.from_field(field, 32).save(folder / "30-refine" / "field.safetensors")
    mesh.save(folder / "40-mesh" / "mesh.safetensors")
    write_glb(Asset(mesh, "a-ball", {"prompt": "a ball"}), folder / "50-export" / "a-ball.glb")
    for stage in STAGES:
        finish(folder / stage)
    models = {"domain": {"id": "starter", "revision": "1", "licence": "Apache-2.0"}}
    stages = {
        "mesh": {"status": "finished"},
        "export": {
            "status": "finished",
            "folder": "50-export",
            "facts": {"glb": "a-ball.glb", "files": {"glb": "a-ball.glb"}},
            "models": models,
        },
    }
    config = {"export": {"height_m": 0.25}}
    told = {"format": 1, "prompt": "a ball", "seed": 3, "stages": stages, "config": config}
    (folder / "manifest.json").write_text(json.dumps(told))
    return folder
