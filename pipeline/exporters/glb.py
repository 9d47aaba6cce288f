"""GLB files: glTF 2.0 (registry.khronos.org/glTF/specs/2.0/glTF-2.0.html) in one file, +Y up and front +Z.

Metres, an identity node, and all maps inside as PNG. Names, sampler and extras are those that Blender's importer shows.
"""

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
from ...systems.texture.tangents import vertex_tangents
from ...systems.types import Mesh
from ..assets.asset import Asset
from ..run.staging import write_file
from .axes import from_y_up, to_y_up
from .maps import CLAY_LINEAR, map_files

_MAGIC, _JSON_CHUNK, _BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_COMPONENT = {"float32": 5126, "uint32": 5125, "uint16": 5123}
# An atlas is not to be repeated: at its border the filter would blend in the opposite side.
_SAMPLER = {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}


def write_glb(asset: Asset, path: Path) -> None:
    """Write the asset as a binary glTF 2.0 file, whole or not at all.

    The facts go into ``asset.extras`` and into the node's extras, which Blender shows as custom properties. A mesh
    without texture is light grey clay.

    Raises:
        SlipcastError: the file cannot be written.
    """
    data = _Glb(asset).to_bytes()
    path = Path(path)
    write_file(path, "GLB", data)


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


class _Glb:
    """A document and its binary chunk, growing together; indices are handed out in the order of writing."""

    def __init__(self, asset: Asset) -> None:
        self._binary = bytearray()
        facts = dict(asset.facts)
        self._document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "slipcast"} | ({"extras": facts} if facts else {}),
            "scene": 0,
            "scenes": [{"name": asset.name, "nodes": [0]}],
            "nodes": [{"name": asset.name, "mesh": 0} | ({"extras": facts} if facts else {})],
        }
        mesh = asset.mesh
        attributes = {
            "POSITION": self._accessor(to_y_up(mesh.vertices), "VEC3", bounds=True),
            "NORMAL": self._accessor(to_y_up(_unit(mesh.normals)), "VEC3"),
        }
        material = self._material(asset)
        if "textures" in self._document and mesh.uv is not None:
            # glTF counts v downwards.
            uv = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], 1).astype(np.float32)
            attributes["TEXCOORD_0"] = self._accessor(uv, "VEC2")
            if mesh.normal_map is not None:
                attributes["TANGENT"] = self._accessor(_tangents(mesh), "VEC4")
        primitive = {
            "attributes": attributes,
            "indices": self._accessor(_small(mesh.faces).reshape(-1), "SCALAR", _ELEMENT_ARRAY_BUFFER),
            "material": 0,
        }
        self._document |= {
            "meshes": [{"name": asset.name, "primitives": [primitive]}],
            "materials": [material],
        }

    def to_bytes(self) -> bytes:
        """The file (specification, section 4.4)."""
        self._pad()
        self._document["buffers"] = [{"byteLength": len(self._binary)}]
        text = json.dumps(self._document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        length = 12 + 8 + len(text) + 8 + len(self._binary)
        head = struct.pack("<5I", _MAGIC, 2, length, len(text), _JSON_CHUNK)
        return head + text + struct.pack("<2I", len(self._binary), _BINARY_CHUNK) + bytes(self._binary)

    def _material(self, asset: Asset) -> dict[str, Any]:
        mesh = asset.mesh
        surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": round(asset.roughness, 6)}
        material: dict[str, Any] = {"name": asset.name, "pbrMetallicRoughness": surface}
        files = map_files(mesh)
        if "texture" in files:
            surface["baseColorTexture"] = self._texture(files["texture"], f"{asset.name}_basecolor")
        else:
            surface["baseColorFactor"] = [*CLAY_LINEAR, 1.0]
        if "orm" in files:
            packed = self._texture(files["orm"], f"{asset.name}_orm")
            surface |= {"metallicFactor": 1.0, "roughnessFactor": 1.0, "metallicRoughnessTexture": packed}
            material["occlusionTexture"] = packed
        if "normal_map" in files:
            material["normalTexture"] = self._texture(files["normal_map"], f"{asset.name}_normal")
        return material

    def _texture(self, file: bytes, name: str) -> dict[str, int]:
        image = self._add("images", {"name": name, "mimeType": "image/png", "bufferView": self._view(file)})
        self._document["samplers"] = [_SAMPLER]
        return {"index": self._add("textures", {"name": name, "sampler": 0, "source": image})}

    def _accessor(
        self, array: np.ndarray, kind: str, target: int = _ARRAY_BUFFER, *, bounds: bool = False
    ) -> int:
        entry = {
            "bufferView": self._view(np.ascontiguousarray(array).tobytes(), target),
            "componentType": _COMPONENT[array.dtype.name],
            "count": len(array),
            "type": kind,
        }
        if bounds:
            entry |= {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
        return self._add("accessors", entry)

    def _view(self, data: bytes, target: int | None = None) -> int:
        self._pad()
        entry = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)}
        self._binary += data
        return self._add("bufferViews", entry if target is None else entry | {"target": target})

    def _add(self, kind: str, entry: dict[str, Any]) -> int:
        entries = self._document.setdefault(kind, [])
        entries.append(entry)
        return len(entries) - 1

    def _pad(self) -> None:
        self._binary += b"\0" * (-len(self._binary) % 4)


def _small(faces: np.ndarray) -> np.ndarray:
    """Indices in 16 bits where they fit; 65535 itself is not allowed (specification, section 3.7.2.1)."""
    return faces.astype(np.uint16 if faces.max() < 65535 else np.uint32)


def _tangents(mesh: Mesh) -> np.ndarray:
    """Written out, since readers that make their own do not all make the same."""
    tangents = vertex_tangents(mesh.with_(normals=_unit(mesh.normals)))
    return np.concatenate([to_y_up(tangents[:, :3]), tangents[:, 3:]], 1)


def _unit(normals: np.ndarray) -> np.ndarray:
    """Of length 1, which the specification demands; what has no direction points up."""
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    upwards = np.array([0, 0, 1], np.float32)
    # Those that are of unit length already stay as they are, bit for bit.
    scaled = np.where(np.abs(length - 1) < 1e-5, normals, normals / length.clip(1e-12))
    return np.where(length > 1e-6, scaled, upwards).astype(np.float32)


def _pixels(image: Image.Image | None) -> np.ndarray | None:
    return None if image is None else np.asarray(image.convert("RGB"))
