"""Runs inside Blender: one Principled BSDF with the textures of an asset, all packed into the file.

Base colour is sRGB; normals and occlusion-roughness-metallic (ORM) are data, "Non-Color" in Blender's words. ORM
stays one picture: green goes to roughness, blue to metallic. Red, ambient occlusion, has no input on a Principled BSDF
(Cycles and EEVEE find occlusion themselves); it goes to the group "glTF Material Output", from which Blender's glTF
exporter reads it, so that it is not lost on the way through Blender.
"""

from __future__ import annotations

from pathlib import Path

import bpy

GLTF_GROUP = "glTF Material Output"  # the name that the exporter looks for
_GREY = (0.55, 0.55, 0.55, 1.0)


def make_material(
    name: str, textures: dict[str, str], roughness: float, metallic: float
) -> bpy.types.Material:
    """A material from {"basecolor" | "normal" | "orm" | "roughness" | "metallic": picture's path}.

    What is missing gets a plain value. Roughness and metallic in pictures of their own are for exporters that do not
    look through the parting of ``orm``.
    """
    material = bpy.data.materials.new(name)
    if material.node_tree is None:  # from 5.0 on there always is one, and use_nodes is deprecated
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    output = _node(tree, "ShaderNodeOutputMaterial", 300, 0)
    shader = _node(tree, "ShaderNodeBsdfPrincipled", 0, 0)
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    shader.inputs["Base Color"].default_value = _GREY
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Metallic"].default_value = metallic
    if "basecolor" in textures:
        picture = _picture(tree, name, "basecolor", textures, "sRGB", 200)
        tree.links.new(picture.outputs["Color"], shader.inputs["Base Color"])
    if "orm" in textures:
        picture = _picture(tree, name, "orm", textures, "Non-Color", -100)
        split = _node(tree, "ShaderNodeSeparateColor", -250, -100)
        tree.links.new(picture.outputs["Color"], split.inputs["Color"])
        tree.links.new(split.outputs["Green"], shader.inputs["Roughness"])
        tree.links.new(split.outputs["Blue"], shader.inputs["Metallic"])
        occlusion = _node(tree, "ShaderNodeGroup", 0, 250)
        occlusion.node_tree = _occlusion_group()
        tree.links.new(split.outputs["Red"], occlusion.inputs["Occlusion"])
    for role, y in (("roughness", 0), ("metallic", -200)):
        if role in textures:
            picture = _picture(tree, name, role, textures, "Non-Color", y)
            tree.links.new(picture.outputs["Color"], shader.inputs[role.capitalize()])
    if "normal" in textures:
        picture = _picture(tree, name, "normal", textures, "Non-Color", -400)
        bend = _node(tree, "ShaderNodeNormalMap", -250, -400)
        bend.space, bend.uv_map = "TANGENT", "UVMap"
        tree.links.new(picture.outputs["Color"], bend.inputs["Color"])
        tree.links.new(bend.outputs["Normal"], shader.inputs["Normal"])
    return material


def _picture(
    tree: bpy.types.NodeTree, name: str, role: str, textures: dict[str, str], space: str, y: float
) -> bpy.types.Node:
    """An image node; its picture lives in the .blend file and would unpack into ``textures/`` beside it."""
    path = Path(textures[role])
    image = bpy.data.images.load(str(path))
    image.name = f"{name}_{role}"
    image.colorspace_settings.name = space
    image.pack(data=path.read_bytes(), data_len=path.stat().st_size)
    image.filepath = f"//textures/{name}_{role}{path.suffix}"
    for packed in image.packed_files:
        packed.filepath = image.filepath
    node = _node(tree, "ShaderNodeTexImage", -600, y)
    node.image = image
    node.label = role
    return node


def _occlusion_group() -> bpy.types.NodeTree:
    group = bpy.data.node_groups.get(GLTF_GROUP)
    if group is None:
        group = bpy.data.node_groups.new(GLTF_GROUP, "ShaderNodeTree")
        group.interface.new_socket("Occlusion", in_out="INPUT", socket_type="NodeSocketFloat")
        group.nodes.new("NodeGroupInput")
    return group


def _node(tree: bpy.types.NodeTree, kind: str, x: float, y: float) -> bpy.types.Node:
    node = tree.nodes.new(kind)
    node.location = (x, y)
    return node
