"""GLB files: a glTF 2.0 document (``gltf``) with its buffer and all its maps in one file."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from ...configs.errors import SlipcastError, in_one_line
from ...systems.types import Mesh
from ..assets.asset import Asset
from ..run.staging import write_file
from .axes import from_y_up
from .gltf import Document

_MAGIC, _JSON_CHUNK, _BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942


def write_glb(asset: Asset, path: Path) -> None:
    """Write the asset as a binary glTF 2.0 file, whole or not at all.

    The facts go into ``asset.extras`` and into the node's extras, which Blender shows as custom properties. A mesh
    without texture is light grey clay.

    Raises:
        SlipcastError: the file cannot be written.
    """
    write_file(Path(path), "GLB", _packed(Document(asset)))


def read_glb(path: Path) -> tuple[Mesh, dict[str, Any]]:
    """The first mesh of a GLB that ``write_glb`` made, back in the object's frame, and ``asset.extras``.

    Node transforms are not applied; ours are the identity.

    Raises:
        SlipcastError: not a readable GLB.
    """
    try:
        extras = read_json(path)["asset"].get("extras", {})
        with open(path, "rb") as file:
            scene = trimesh.load_scene(file, file_type="glb", process=False)
        # Not scene.to_geometry(): it computes the vertex normals anew.
        mesh = _mesh_of(next(iter(scene.geometry.values())))
        mesh.check()
        if not isinstance(extras, dict):
            raise TypeError("its extras are no object")
    except Exception as error:  # trimesh raises anything for damaged documents, and nothing else runs in here
        raise SlipcastError(
            f"{path} is not a readable GLB file ({in_one_line(error)}); export it again"
        ) from error
    return mesh, extras


def _mesh_of(body: Any) -> Mesh:
    if not isinstance(body, trimesh.Trimesh):
        raise ValueError("it holds no triangle mesh")
    visual: Any = body.visual
    uv = visual.uv if isinstance(visual, TextureVisuals) else None
    material = visual.material if uv is not None and isinstance(visual.material, PBRMaterial) else None
    return Mesh(
        vertices=from_y_up(body.vertices),
        faces=np.asarray(body.faces, np.int32),
        normals=from_y_up(body.vertex_normals),
        uv=None if uv is None else np.asarray(uv, np.float32),
        texture=None if material is None else _pixels(material.baseColorTexture),
        normal_map=None if material is None else _pixels(material.normalTexture),
        orm=None if material is None else _pixels(material.metallicRoughnessTexture),
    )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON chunk of a GLB file; ValueError if it is none."""
    data = Path(path).read_bytes()
    if len(data) < 20:
        raise ValueError("shorter than a GLB header")
    magic, version, length = struct.unpack_from("<3I", data)
    json_length, json_type = struct.unpack_from("<2I", data, 12)
    if magic != _MAGIC or version != 2 or json_type != _JSON_CHUNK or length != len(data):
        raise ValueError("no glTF 2 header, or the file is cut short")
    return json.loads(data[20 : 20 + json_length])


def _packed(document: Document) -> bytes:
    """The file (specification, section 4.4)."""
    text, binary = document.text(), document.binary
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    head = struct.pack("<5I", _MAGIC, 2, length, len(text), _JSON_CHUNK)
    return head + text + struct.pack("<2I", len(binary), _BINARY_CHUNK) + binary


def _pixels(image: Image.Image | None) -> np.ndarray | None:
    return None if image is None else np.asarray(image.convert("RGB"))
