"""GLB files, the one place where glTF's axes appear: (x, y, z) with +Z up becomes (x, z, -y), +Y up and front +Z.

The object's frame is kept otherwise: no shift, no scale, one unit is one metre.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from trimesh.exchange.gltf import export_glb
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from ..configs.errors import SlipcastError
from ..systems.types import Mesh
from .atomic import explain_os_errors, write_bytes

ROUGHNESS = 0.35
_TO_GLTF = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)
_MAGIC, _JSON_CHUNK, _BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963


def write_glb(mesh: Mesh, path: Path, *, name: str, extras: dict[str, Any] | None = None) -> None:
    """Write one textured object as a binary glTF 2.0 file, whole or not at all.

    Args:
        mesh: with uv and texture it gets a material with that base colour, otherwise a light grey one.
        name: of the node, the mesh and the material, as Blender's outliner will show them.
        extras: JSON values kept in ``asset.extras`` and in the node's extras (Blender: custom properties), for instance
            prompt and licence.

    Raises:
        SlipcastError: the file cannot be written.
    """
    data = _finish(export_glb(_scene(mesh, name), include_normals=True), extras or {})
    path = Path(path)
    with explain_os_errors(path, "writing the GLB"):
        write_bytes(path, data)


def read_glb(path: Path) -> tuple[Mesh, dict[str, Any]]:
    """The first mesh of a GLB that ``write_glb`` made, back in the object's frame, and ``asset.extras``.

    Node transforms are not applied; ours are the identity.

    Raises:
        SlipcastError: not a readable GLB.
    """
    try:
        extras = read_json(path).get("asset", {}).get("extras", {})
        with open(path, "rb") as file:
            scene = trimesh.load_scene(file, file_type="glb", process=False)
        # Not scene.to_geometry(): it computes the vertex normals anew.
        body = next(iter(scene.geometry.values()))
    except (OSError, ValueError, KeyError, IndexError, StopIteration, struct.error) as error:
        raise SlipcastError(f"{path} is not a readable GLB file ({error}); export it again") from error
    if not isinstance(body, trimesh.Trimesh):
        raise SlipcastError(f"{path} holds no triangle mesh; export it again")
    visual: Any = body.visual
    uv = visual.uv if isinstance(visual, TextureVisuals) else None
    material = None if uv is None else visual.material
    image = material.baseColorTexture if isinstance(material, PBRMaterial) else None
    mesh = Mesh(
        vertices=(body.vertices @ _TO_GLTF).astype(np.float32),
        faces=np.asarray(body.faces, np.int32),
        normals=(body.vertex_normals @ _TO_GLTF).astype(np.float32),
        uv=None if uv is None else np.asarray(uv, np.float32),
        texture=None if image is None else np.asarray(image.convert("RGB")),
    )
    return mesh, extras


def read_json(path: Path) -> dict[str, Any]:
    """The JSON chunk of a GLB file; ValueError if it is none."""
    return _split(Path(path).read_bytes())[0]


def _scene(mesh: Mesh, name: str) -> trimesh.Scene:
    image = None if mesh.texture is None else Image.fromarray(mesh.texture)
    material = PBRMaterial(
        name=name,
        baseColorTexture=image,
        baseColorFactor=None if image is not None else [200, 200, 200, 255],
        metallicFactor=0.0,
        roughnessFactor=ROUGHNESS,
    )
    body = trimesh.Trimesh(
        vertices=mesh.vertices @ _TO_GLTF.T,
        faces=mesh.faces,
        vertex_normals=mesh.normals @ _TO_GLTF.T,
        visual=TextureVisuals(uv=mesh.uv, material=material),
        process=False,
    )
    scene = trimesh.Scene()
    scene.add_geometry(body, node_name=name, geom_name=name)
    return scene


def _finish(data: bytes, extras: dict[str, Any]) -> bytes:
    """Add what trimesh leaves out: our generator, the extras, and each buffer view's target."""
    document, binary = _split(data)
    document["asset"]["generator"] = "slipcast"
    if extras:
        document["asset"]["extras"] = extras
        for node in document["nodes"]:
            if "mesh" in node:
                node["extras"] = extras
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            _set_target(document, primitive["indices"], _ELEMENT_ARRAY_BUFFER)
            for accessor in primitive["attributes"].values():
                _set_target(document, accessor, _ARRAY_BUFFER)
    return _join(document, binary)


def _set_target(document: dict[str, Any], accessor: int, target: int) -> None:
    document["bufferViews"][document["accessors"][accessor]["bufferView"]]["target"] = target


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """A GLB's JSON and binary chunks (glTF 2.0 specification, section 4.4)."""
    if len(data) < 20:
        raise ValueError("shorter than a GLB header")
    magic, version, length = struct.unpack_from("<3I", data)
    json_length, json_type = struct.unpack_from("<2I", data, 12)
    if magic != _MAGIC or version != 2 or json_type != _JSON_CHUNK or length != len(data):
        raise ValueError("no glTF 2 header, or the file is cut short")
    return json.loads(data[20 : 20 + json_length]), data[20 + json_length + 8 :]


def _join(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        [
            struct.pack("<3I", _MAGIC, 2, length),
            struct.pack("<2I", len(text), _JSON_CHUNK),
            text,
            struct.pack("<2I", len(binary), _BINARY_CHUNK),
            binary,
        ]
    )
