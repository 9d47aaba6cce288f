"""glTF 2.0 (registry.khronos.org/glTF/specs/2.0/glTF-2.0.html): the document, and its form of several files.

Metres, an identity node, +Y up and front +Z. Names, sampler and extras are those that Blender's importer shows.
``glb`` packs the same document into one file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from ...systems.texture.tangents import vertex_tangents
from ...systems.types import Mesh
from ..assets.asset import Asset
from ..assets.pictures import Picture, map_files
from ..run.staging import write_file
from .axes import to_y_up
from .preview import CLAY_LINEAR

_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_COMPONENT = {"float32": 5126, "uint32": 5125, "uint16": 5123}
# An atlas is not to be repeated: at its border the filter would blend in the opposite side.
_SAMPLER = {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}
_WEBP = "EXT_texture_webp"


def write_gltf(asset: Asset, path: Path) -> None:
    """Write <stem>.gltf, <stem>.bin and a picture for each map.

    The same document as ``write_glb`` writes; it comes last, so that nothing it names is missing. Pictures are called
    after glTF's own properties, and so share no name with those of an OBJ in the same folder.

    Raises:
        SlipcastError: a file cannot be written.
    """
    path = Path(path)
    document = Document(asset, beside=path.stem)
    files = document.files | {f"{path.stem}.bin": document.binary, path.name: document.text()}
    for name, data in files.items():
        write_file(path.with_name(name), "GLTF", data)


class Document:
    """A document and its buffer, growing together; indices are handed out in the order of writing.

    Args:
        beside: the stem of the files beside it, ``<stem>.bin`` and pictures; None keeps all in the buffer.

    Attributes:
        files: {name: content} of the pictures beside it.
    """

    def __init__(self, asset: Asset, *, beside: str | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self._beside, self._binary = beside, bytearray()
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
        self._pad()
        where = {} if beside is None else {"uri": quote(f"{beside}.bin")}
        self._document["buffers"] = [where | {"byteLength": len(self._binary)}]

    @property
    def binary(self) -> bytes:
        """The buffer, as long as the document says."""
        return bytes(self._binary)

    def text(self) -> bytes:
        """The document as JSON."""
        return json.dumps(self._document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    def _material(self, asset: Asset) -> dict[str, Any]:
        mesh = asset.mesh
        surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": round(asset.roughness, 6)}
        material: dict[str, Any] = {"name": asset.name, "pbrMetallicRoughness": surface}
        files = map_files(mesh, asset.textures)
        if "texture" in files:
            surface["baseColorTexture"] = self._texture(
                files["texture"], f"{asset.name}_basecolor", "baseColorTexture"
            )
        else:
            surface["baseColorFactor"] = [*CLAY_LINEAR, 1.0]
        if "orm" in files:
            packed = self._texture(files["orm"], f"{asset.name}_orm", "ormTexture")
            surface |= {"metallicFactor": 1.0, "roughnessFactor": 1.0, "metallicRoughnessTexture": packed}
            material["occlusionTexture"] = packed
        if "normal_map" in files:
            normal = self._texture(files["normal_map"], f"{asset.name}_normal", "normalTexture")
            material["normalTexture"] = normal
        return material

    def _texture(self, picture: Picture, name: str, file: str) -> dict[str, int]:
        image: dict[str, Any] = {"name": name, "mimeType": picture.mime}
        if self._beside is None:
            image["bufferView"] = self._view(picture.data)
        else:
            beside = f"{self._beside}_{file}.{picture.ending}"
            self.files[beside] = picture.data
            image["uri"] = quote(beside)
        source: dict[str, Any] = {"source": self._add("images", image)}
        if picture.ending == "webp":
            # Required, since there is no other picture to fall back to: one more would be larger than PNG alone.
            source = {"extensions": {_WEBP: source}}
            self._document["extensionsUsed"] = self._document["extensionsRequired"] = [_WEBP]
        self._document["samplers"] = [_SAMPLER]
        return {"index": self._add("textures", {"name": name, "sampler": 0} | source)}

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
