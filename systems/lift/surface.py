"""A triangle surface with colours at every point of it: what a mesh is to the lift, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..srgb import to_linear, to_srgb
from ..types import Mesh

_WIDEST, _FARTHEST = 0.85, 1.10
CLAY = (0.8, 0.8, 0.8)
"""sRGB of a mesh that has no colours."""


@dataclass(frozen=True)
class Surface:
    """Triangles and their colours.

    Attributes:
        vertices: [V, 3] float64, in the object's frame (+Z up, front -Y). Faces that meet share vertices.
        faces: [F, 3] int64.
        colours: [F, 3, 3], linear RGB of each face's corners; multiplied with its texture where it has one.
        uv: [F, 3, 2] of the corners, (0, 0) at a picture's lower left; pictures repeat.
        picture: [F], which of ``textures`` lies on the face, -1 for none.
        textures: each [H, W, 3] uint8, sRGB, row 0 at the top.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    uv: np.ndarray
    picture: np.ndarray
    textures: tuple[np.ndarray, ...] = ()

    @property
    def triangles(self) -> np.ndarray:
        """Corners, [F, 3, 3]."""
        return self.vertices[self.faces]

    def colour_at(self, faces: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """sRGB [N, 3] in [0, 1] at points of faces [N], given by the weights [N, 3] of their corners."""
        linear = np.einsum("nc,ncd->nd", weights, self.colours[faces])
        uv = np.einsum("nc,ncd->nd", weights, self.uv[faces])
        for index, texture in enumerate(self.textures):
            here = self.picture[faces] == index
            linear[here] *= to_linear(_bilinear(texture, uv[here]))
        return to_srgb(linear)


def surface_of(mesh: Mesh) -> Surface:
    """A mesh as the stages pass it on, with its base colour; light grey where it has none."""
    count, faces = len(mesh.faces), mesh.faces.astype(np.int64)
    textured = mesh.texture is not None and mesh.uv is not None
    colour = (1.0, 1.0, 1.0) if textured else to_linear(np.array(CLAY))
    return Surface(
        mesh.vertices.astype(np.float64),
        faces,
        colours=np.broadcast_to(np.asarray(colour, np.float64), (count, 3, 3)),
        uv=np.zeros((count, 3, 2)) if mesh.uv is None else mesh.uv[faces].astype(np.float64),
        picture=np.full(count, 0 if textured else -1),
        textures=() if mesh.texture is None or not textured else (mesh.texture,),
    )


def framed(surface: Surface) -> Surface:
    """The surface in the framing that all pictures share (see ``framing``)."""
    middle, scale = framing(surface.vertices[np.unique(surface.faces)])
    return replace(surface, vertices=(surface.vertices - middle) * scale)


def turned(surface: Surface, yaw_rad: float) -> Surface:
    """The surface turned about +Z through the origin, from +X towards +Y."""
    return replace(surface, vertices=surface.vertices @ turn_about_z(yaw_rad).T)


def turn_about_z(yaw_rad: float) -> np.ndarray:
    """[3, 3], from +X towards +Y: turns columns; rows times it are turned back."""
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def framing(points: np.ndarray) -> tuple[np.ndarray, float]:
    """What (points - middle) * scale makes of points [N, 3]: the framing that all pictures share.

    middle [3]: of the bounding box;
    scale = min(0.85 / max(radius about z, half height), 1.10 / radius of the bounding sphere).
    """
    middle = (points.min(0) + points.max(0)) / 2
    points = points - middle
    widest = max(np.hypot(points[:, 0], points[:, 1]).max(), np.abs(points[:, 2]).max())
    return middle, float(min(_WIDEST / widest, _FARTHEST / np.linalg.norm(points, axis=1).max()))


def _bilinear(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """sRGB [N, 3] of a repeating picture."""
    height, width = texture.shape[:2]
    x, y = uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, down = (x - column)[:, None], (y - row)[:, None]

    def texel(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return texture[i % height, j % width].astype(np.float64) / 255

    above = texel(row, column) * (1 - right) + texel(row, column + 1) * right
    below = texel(row + 1, column) * (1 - right) + texel(row + 1, column + 1) * right
    return above * (1 - down) + below * down
