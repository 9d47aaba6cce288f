"""People's meshes: GLB, glTF, OBJ, PLY and STL, with the colours that they have, in the object's frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...configs.atomic import fingerprint
from ...configs.errors import BadInput
from ..srgb import to_linear
from .surface import CLAY, Surface

Y_UP = frozenset({".glb", ".gltf", ".obj"})
"""Formats with +Y up and the front along +Z; the others have +Z up and the front along -Y."""
ENDINGS = (".glb", ".gltf", ".obj", ".ply", ".stl")
_LARGEST_FILE = 2 * 2**30
_MERGE_DIGITS = 8  # of the object's size: corners closer than that are one


def read_surface(path: Path) -> Surface:
    """Every triangle of a mesh file.

    Colours are, in this order: the texture of the base colour times its factor, the vertices' or faces' colours, the
    material's colour, or else light grey.

    Raises:
        BadInput: no such file or format, a file that is damaged, a mesh without faces or extent or with numbers that
            are not finite, a texture that is missing.
    """
    import trimesh

    if path.suffix.lower() not in ENDINGS:
        raise BadInput(f"lift.source expects a mesh that ends in {', '.join(ENDINGS)}, not {path.name!r}")
    if not path.is_file():
        raise BadInput(f"there is no mesh {path}; give the file in lift.source")
    if path.stat().st_size > _LARGEST_FILE:
        raise BadInput(f"{path} has more than 2 GiB; decimate the mesh first")
    files: Any = _Beside(path)
    try:
        scene = trimesh.load_scene(path, process=False, resolver=files)
        parts = [_part(body, path) for body in scene.dump() if isinstance(body, trimesh.Trimesh)]
    except BadInput:
        raise
    except Exception as error:  # trimesh's readers raise whatever their parsers stumble over
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInput(f"{path} cannot be read as a mesh ({reason}); export it again") from error
    if files.missing:
        raise BadInput(
            f"{path} names {files.missing[0]!r}, which is not beside it; put it there, or export a GLB"
        )
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise BadInput(f"{path} has no faces; export a triangle mesh")
    return _checked(_joined(parts), path)


class _Beside:
    """The files beside a mesh, for trimesh, which passes over those that are missing: here they are noted."""

    def __init__(self, path: Path) -> None:
        self._folder, self.missing = path.parent.resolve(), list[str]()

    def get(self, name: str) -> bytes:
        """The content of a file that the mesh names."""
        path = (self._folder / name.strip().replace("\\", "/")).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            self.missing.append(name.strip())
            raise FileNotFoundError(name)
        return path.read_bytes()

    def __getitem__(self, name: str) -> bytes:
        return self.get(name)

    def keys(self) -> list[str]:
        """Names of the files there are."""
        return [path.name for path in self._folder.iterdir() if path.is_file()]

    def namespaced(self, namespace: str) -> _Beside:
        """The same in a folder below."""
        below = _Beside(self._folder / namespace / "_")
        below.missing = self.missing
        return below


def surface_identity(surface: Surface) -> str:
    """A hash of all that counts, wherever it was read from: a file's textures may lie beside it."""
    import hashlib

    arrays = [getattr(surface, name) for name in ("vertices", "faces", "colours", "uv", "picture")]
    told = [
        (array.shape, hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest())
        for array in [*arrays, *surface.textures]
    ]
    return fingerprint(told)


def _part(body: Any, path: Path) -> Surface:
    """One body of the scene, placed; its corners are joined where they are in the same place."""
    vertices, faces = np.asarray(body.vertices, np.float64), np.asarray(body.faces, np.int64)
    if len(faces) and not np.isfinite(vertices[faces]).all():
        raise BadInput(f"{path} has vertices that are no finite numbers; repair the mesh and export it again")
    if path.suffix.lower() in Y_UP:
        vertices = vertices[:, [0, 2, 1]] * np.array([1, -1, 1])
    colours, uv, texture = _looks(body, faces, path)
    return Surface(
        vertices,
        faces,
        colours,
        uv,
        np.full(len(faces), -1 if texture is None else 0),
        () if texture is None else (texture,),
    )


def _looks(body: Any, faces: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Linear colours [F, 3, 3], uv [F, 3, 2] and the texture, if any."""
    from trimesh.visual.material import PBRMaterial
    from trimesh.visual.texture import TextureVisuals

    count, visual = len(faces), body.visual
    uv, texture, colour = np.zeros((count, 3, 2)), None, to_linear(np.array(CLAY))
    if isinstance(visual, TextureVisuals):
        material = visual.material
        pbr = isinstance(material, PBRMaterial)
        picture = material.baseColorTexture if pbr else material.image
        factor = material.baseColorFactor if pbr else material.diffuse
        if picture is not None and visual.uv is not None:
            texture = np.asarray(picture.convert("RGB"))
            uv = np.asarray(visual.uv, np.float64)[faces]
            if not np.isfinite(uv).all():
                raise BadInput(f"{path} has texture coordinates that are no finite numbers; unwrap it again")
            # OBJ files name a grey beside a texture that programs do not mix in.
            colour = np.ones(3) if factor is None or not pbr else _unit(factor)
        elif factor is not None:
            colour = _unit(factor) if pbr else to_linear(_unit(factor))  # glTF's factors are linear
    elif visual.kind == "face":
        colour = to_linear(_unit(visual.face_colors))[:, None]
    elif visual.kind == "vertex":
        per_vertex = _unit(visual.vertex_colors)
        # glTF's COLOR_0 is linear.
        colour = (per_vertex if path.suffix.lower() in (".glb", ".gltf") else to_linear(per_vertex))[faces]
    return np.array(np.broadcast_to(colour, (count, 3, 3)), np.float64), uv, texture


def _unit(colour: Any) -> np.ndarray:
    """RGB in [0, 1] of trimesh's bytes or floats, RGBA or RGB."""
    array = np.asarray(colour)
    scale = 255 if array.dtype.kind in "ui" else 1
    return (array[..., :3].astype(np.float64) / scale).clip(0, 1)


def _joined(parts: list[Surface]) -> Surface:
    """All parts as one surface, each with its own texture."""
    faces, picture, textures, offset = [], [], [], 0
    for part in parts:
        faces.append(part.faces + offset)
        picture.append(np.where(part.picture < 0, -1, len(textures)))
        textures += part.textures
        offset += len(part.vertices)
    return Surface(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate(faces),
        np.concatenate([part.colours for part in parts]),
        np.concatenate([part.uv for part in parts]),
        np.concatenate(picture),
        tuple(textures),
    )


def _checked(surface: Surface, path: Path) -> Surface:
    """The surface with corners in one place joined, which formats keep apart for their textures' sake."""
    used = surface.vertices[surface.faces]
    size = float((used.max((0, 1)) - used.min((0, 1))).max())
    if not 0 < size < np.inf or size < 1e-12 * np.abs(used).max():
        raise BadInput(f"{path} has no extent, all its corners lie in one place; export it again")
    low = used.min((0, 1))
    places, index = np.unique(
        np.round((surface.vertices - low) / size, _MERGE_DIGITS), axis=0, return_inverse=True
    )
    return Surface(
        places * size + low,
        index.reshape(-1)[surface.faces],
        surface.colours,
        surface.uv,
        surface.picture,
        surface.textures,
    )
