"""Runs inside Blender: a picture of the object by Cycles, which becomes its thumbnail in the asset browser.

The picture is taken in a scene of its own that is removed again, so that the file holds the object alone. Camera: from
the object's front (-Y), turned 30 degrees to its left, 20 degrees up, as close as the frame allows. Three area lights
turn with it: key, fill, rim. The background is transparent.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

AZIMUTH_DEG, ELEVATION_DEG, FOV_DEG = 30.0, 20.0, 30.0
MARGIN = 0.06  # of the picture's side, left free at each edge
_WORLD_LIGHT = 0.3
# name: azimuth and elevation from the camera's point of view, watts for an object of radius 1 m, size in radii
_LIGHTS = {
    "key": (-45.0, 35.0, 110.0, 1.5),
    "fill": (55.0, 10.0, 25.0, 3.0),
    "rim": (160.0, 45.0, 110.0, 1.5),
}


def set_preview(body: bpy.types.Object, *, size: int, samples: int, threads: int, picture: str) -> list[str]:
    """Render the object and make the picture its preview; sentences about what was not possible.

    Args:
        threads: of Cycles; 0 leaves the number to Blender.
        picture: path of a PNG to keep beside the preview; empty for none.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(picture) if picture else Path(folder) / "preview.png"
        try:
            render(body, path, size=size, samples=samples, threads=threads)
        except TypeError as error:  # how an engine that this Blender was built without shows itself
            return [f"no preview was rendered: this Blender has no Cycles ({error})"]
        _take_over(body, path)
    return []


def render(
    body: bpy.types.Object,
    path: Path,
    *,
    size: int,
    samples: int,
    threads: int,
    azimuth_deg: float = AZIMUTH_DEG,
    elevation_deg: float = ELEVATION_DEG,
) -> None:
    """Write an RGBA picture of the object, ``size`` pixels square."""
    scene = bpy.data.scenes.new("slipcast preview")
    made: list[Any] = [scene]
    try:
        scene.collection.objects.link(body)
        _set_up(scene, size=size, samples=samples, threads=threads)
        made += _add_world(scene)
        view = _view(azimuth_deg, elevation_deg)
        center, radius = _ball(body)
        made += _add_camera(scene, body, view)
        made += _add_lights(scene, view, center, radius)
        scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True, scene=scene.name)
    finally:
        for item in reversed(made):
            bpy.data.batch_remove([item])


def _set_up(scene: bpy.types.Scene, *, size: int, samples: int, threads: int) -> None:
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = samples
    scene.cycles.use_denoising = True
    scene.cycles.max_bounces = 4
    scene.cycles.seed = 0
    scene.render.film_transparent = True
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.use_persistent_data = False
    # "Standard" shows a colour as the texture has it; the default, AgX, greys it.
    scene.view_settings.view_transform = "Standard"
    if threads > 0:
        scene.render.threads_mode = "FIXED"
        scene.render.threads = threads


def _add_world(scene: bpy.types.Scene) -> list[Any]:
    world = bpy.data.worlds.new("slipcast preview")
    if world.node_tree is None:  # from 5.0 on there always is one, and use_nodes is deprecated
        world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    background.inputs["Strength"].default_value = _WORLD_LIGHT
    scene.world = world
    return [world]


def _view(azimuth_deg: float, elevation_deg: float) -> np.ndarray:
    """Rows right, up, backward (towards the camera) in world axes, [3, 3]; azimuth 0 looks at the front, -Y."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    backward = np.array(
        [
            math.sin(azimuth) * math.cos(elevation),
            -math.cos(azimuth) * math.cos(elevation),
            math.sin(elevation),
        ]
    )
    right = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    return np.stack([right, np.cross(backward, right), backward])


def _points(body: bpy.types.Object) -> np.ndarray:
    points = np.empty(3 * len(body.data.vertices), np.float32)
    body.data.vertices.foreach_get("co", points)
    return points.reshape(-1, 3).astype(np.float64)


def _ball(body: bpy.types.Object) -> tuple[np.ndarray, float]:
    points = _points(body)
    center = (points.min(0) + points.max(0)) / 2
    return center, float(np.linalg.norm(points - center, axis=1).max()) or 1.0


def _add_camera(scene: bpy.types.Scene, body: bpy.types.Object, view: np.ndarray) -> list[Any]:
    """The nearest camera that sees every vertex, with the object in the middle of its picture.

    A camera at (x0, y0, d) sees what has |x - x0| <= t (d - z), and likewise for y: the least d for which such an x0
    exists is (max(x / t + z) + max(-x / t + z)) / 2.
    """
    x, y, z = view @ _points(body).T
    t = math.tan(math.radians(FOV_DEG) / 2) * (1 - 2 * MARGIN)
    d = max((v / t + z).max() + (-v / t + z).max() for v in (x, y)) / 2
    place = np.array([_middle(x, d - z), _middle(y, d - z), d])
    data = bpy.data.cameras.new("slipcast preview")
    data.sensor_fit, data.angle = "HORIZONTAL", math.radians(FOV_DEG)
    distance = place[2] - z.min()
    data.clip_start, data.clip_end = distance * 1e-3, distance * 10
    camera = bpy.data.objects.new("slipcast preview", data)
    camera.matrix_world = _matrix(view, place @ view)
    scene.collection.objects.link(camera)
    scene.camera = camera
    return [data, camera]


def _middle(values: np.ndarray, depth: np.ndarray) -> float:
    """The shift after which (values - shift) / depth reaches equally far to both sides; by bisection."""
    low, high = float(values.min()), float(values.max())
    for _ in range(50):
        shift = (low + high) / 2
        seen = (values - shift) / depth
        low, high = (shift, high) if seen.max() + seen.min() > 0 else (low, shift)
    return shift


def _add_lights(scene: bpy.types.Scene, view: np.ndarray, center: np.ndarray, radius: float) -> list[Any]:
    made: list[Any] = []
    for name, (azimuth, elevation, watts, size) in _LIGHTS.items():
        local = _view(azimuth, elevation)[2]  # from the camera's point of view: -Y is towards it, Z is up
        towards = local @ np.stack([view[0], -view[2], view[1]])
        backward = Vector(towards)
        data = bpy.data.lights.new(name, "AREA")
        data.energy, data.size = (
            watts * radius**2,
            size * radius,
        )  # power grows with the square of the distance
        lamp = bpy.data.objects.new(name, data)
        lamp.matrix_world = (
            Matrix.Translation(Vector(center + towards * 4 * radius))
            @ backward.to_track_quat("Z", "Y").to_matrix().to_4x4()
        )
        scene.collection.objects.link(lamp)
        made += [data, lamp]
    return made


def _matrix(view: np.ndarray, place: np.ndarray) -> Matrix:
    rows = [[*view[:, i], place[i]] for i in range(3)]
    return Matrix([*rows, [0.0, 0.0, 0.0, 1.0]])


def _take_over(body: bpy.types.Object, path: Path) -> None:
    """Make the picture at ``path`` the object's preview, at its full size."""
    image = bpy.data.images.load(str(path))
    try:
        pixels = np.empty(4 * image.size[0] * image.size[1], np.float32)
        image.pixels.foreach_get(pixels)
        preview = body.preview_ensure()
        preview.image_size = tuple(image.size)
        preview.image_pixels_float.foreach_set(pixels)
    finally:
        bpy.data.images.remove(image)
