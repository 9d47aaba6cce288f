"""Runs inside Blender: a picture by Cycles in which each surface shows its base colour and nothing else.

The base colour becomes light of its own, so no shadow, gloss or sky changes it; the view transform is "Standard", which
shows a colour as the texture has it; the pixel filter is a box one pixel wide. So another renderer that draws the same
textures unshaded should come to the same picture.
"""

from __future__ import annotations

from typing import Any

import bpy
from mathutils import Matrix


def render(
    bodies: list[bpy.types.Object],
    *,
    path: str,
    size: int,
    samples: int,
    threads: int,
    cam_to_world: list[list[float]],
    fov_rad: float,
) -> None:
    """Write an RGBA picture, ``size`` pixels square, straight alpha, sRGB; the materials are changed for good.

    Args:
        cam_to_world: [4][4], columns right, up, backward, position, in Blender's world (metres).
        fov_rad: full field of view, the same across and up.
        threads: of Cycles; 0 leaves the number to Blender.
    """
    for material in {slot.material for body in bodies for slot in body.material_slots}:
        shine(material)
    scene = bpy.context.scene
    set_up(scene, size=size, samples=samples, threads=threads)
    data = bpy.data.cameras.new("flat")
    data.sensor_fit, data.angle = "HORIZONTAL", fov_rad
    distance = max(abs(row[3]) for row in cam_to_world[:3])
    data.clip_start, data.clip_end = distance * 1e-3, distance * 1e2
    scene.camera = bpy.data.objects.new("flat", data)
    scene.camera.matrix_world = Matrix(cam_to_world)
    scene.collection.objects.link(scene.camera)
    scene.render.filepath = path
    bpy.ops.render.render(write_still=True)


def shine(material: bpy.types.Material) -> None:
    """Replace the Principled BSDF by an emission of what its base colour shows, picture or plain value."""
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    color = shader.inputs["Base Color"]
    light = tree.nodes.new("ShaderNodeEmission")
    light.inputs["Color"].default_value = color.default_value
    for link in color.links:
        tree.links.new(link.from_socket, light.inputs["Color"])
    output: Any = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    tree.links.new(light.outputs["Emission"], output.inputs["Surface"])


def set_up(scene: bpy.types.Scene, *, size: int, samples: int, threads: int) -> None:
    """Cycles without anything that changes a colour or guesses between samples."""
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples, cycles.seed, cycles.max_bounces = samples, 0, 0
    cycles.use_denoising = cycles.use_adaptive_sampling = False
    cycles.pixel_filter_type = "BOX"
    scene.render.film_transparent = True
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.dither_intensity = 0.0
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.view_settings.view_transform = "Standard"
    if threads > 0:
        scene.render.threads_mode = "FIXED"
        scene.render.threads = threads
