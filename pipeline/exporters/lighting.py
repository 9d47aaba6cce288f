"""The light in which people see a mesh: a photographer's table, with a large soft box, a bright room and a soft shadow.

Everything is computed in linear light; pictures are sRGB. The lights stand still beside the camera, so that a turntable
turns the object. Nothing is sampled: no noise, and the same picture every time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from ...systems.field.cameras import Camera, camera_rays
from ...systems.mesh.rasterizer import EMPTY, interpolate, rasterize
from ...systems.srgb import to_linear, to_srgb
from ...systems.types import Mesh

KEY = np.array([-0.45, 0.65, 0.61], np.float32)
"""Where the soft box stands, in the camera's axes (right, up, towards the viewer), unit length."""
ROUGHNESS = 0.4
"""Of a mesh that says nothing."""
_F0 = 0.04  # what every dielectric mirrors straight ahead
_SKY, _BOUNCE, _BOX = 0.66, 0.42, 0.58  # irradiance over pi of the room above, the table below, the soft box
_BOX_RADIANCE = 7.0
_SHOULDER = 0.8  # above this, light is rolled off instead of cut


def lit(
    base_colour: np.ndarray, normals: np.ndarray, points: np.ndarray, orm: np.ndarray | None, camera: Camera
) -> np.ndarray:
    """sRGB [N, 3] of surface points under the lights.

    Args:
        base_colour: [N, 3] sRGB; normals: [N, 3], of any length; points: [N, 3] in the world.
        orm: [N, 3] in [0, 1], occlusion, roughness and metallic as glTF packs them; None without maps.
    """
    occlusion, roughness, metallic = (
        (np.float32(1), np.float32(ROUGHNESS), np.float32(0))
        if orm is None
        else (orm[:, :1], orm[:, 1:2], orm[:, 2:])
    )
    axes = camera.cam_to_world[:3, :3].numpy().astype(np.float32)
    key = axes @ KEY
    normal = _unit(normals)
    view = _unit(camera.position.numpy().astype(np.float32) - points)
    facing = (normal * view).sum(1, keepdims=True).clip(0.02, 1)
    colour = to_linear(base_colour)
    up = 0.5 + 0.5 * normal[:, 2:]
    # A wrapped Lambert term: a box as large as the object lights what is turned away from its middle too.
    wrapped = (0.4 + 0.6 * (normal @ key)[:, None]).clip(0) ** 1.5
    received = occlusion * (_BOUNCE + (_SKY - _BOUNCE) * up) + _BOX * wrapped
    mirrored = 2 * facing * normal - view
    ahead = _F0 * (1 - metallic) + colour * metallic
    # Schlick's Fresnel term; rough surfaces mirror less of what they are seen along.
    fresnel = ahead + (np.maximum(1 - roughness, ahead) - ahead) * (1 - facing) ** 5
    width = 0.10 + 0.55 * roughness  # of the box's edge in the mirror image, as a cosine
    box = _smoothstep(((mirrored @ key)[:, None] - (0.90 - width)) / (2 * width)) * (0.1 / width) ** 0.7
    room = _BOUNCE + (_SKY - _BOUNCE) * _smoothstep(0.5 + mirrored[:, 2:] / (0.4 + 2 * roughness))
    light = colour * (1 - metallic) * (1 - fresnel) * received
    return to_srgb(_rolled_off(light + fresnel * occlusion * (room + _BOX_RADIANCE * box)))


@dataclass(frozen=True)
class Table:
    """What a mesh stands on: how dark its shadow is, on a grid.

    Attributes:
        shadow: [G, G] in [0, 1], of the square |x|, |y| <= half, row by y, column by x.
        height: of the table, z in the world.
    """

    shadow: np.ndarray
    height: float
    half: float

    @classmethod
    def under(cls, mesh: Mesh, grid: int = 192) -> Table:
        """The table that the mesh's lowest point touches; what stands closer darkens it more."""
        low = float(mesh.vertices[:, 2].min())
        extent = float(np.ptp(mesh.vertices, axis=0).max())
        half = 1.6 * max(extent, 1e-6)
        pixels = (mesh.vertices[:, :2] / half + 1) * (grid / 2)
        above = (mesh.vertices[:, 2] - low) / max(extent, 1e-6)
        face, weights = rasterize(pixels, above + 1.0, mesh.faces, grid, grid)  # the nearest is the lowest
        covered = face != EMPTY
        distance = np.zeros((grid, grid), np.float32)
        distance[covered] = interpolate(above[:, None], mesh.faces, face, weights)[:, 0]
        per_extent = grid / (2 * 1.6)
        dark = np.zeros((grid, grid), np.float32)
        for share, reach in ((0.45, 0.015), (0.40, 0.06), (0.45, 0.16)):
            near = covered * np.exp(-distance / (3 * reach))
            dark += share * gaussian_filter(near.astype(np.float32), reach * per_extent)
        return cls(dark.clip(0, 1), low, half)

    def seen(self, camera: Camera, size: int, background: tuple[float, float, float]) -> np.ndarray:
        """The empty table, sRGB [size, size, 3]: like paper hung in a curve, without an edge, it carries the shadow."""
        origins, directions = (part.numpy().reshape(size, size, 3) for part in camera_rays(camera, size))
        down = np.minimum(directions[..., 2], -1e-4)
        distance = np.where(directions[..., 2] < -1e-4, (self.height - origins[..., 2]) / down, np.inf)
        hit = (distance > 0) & np.isfinite(distance)
        points = origins[..., :2] + np.where(hit, distance, 0)[..., None] * directions[..., :2]
        cells = (points / self.half + 1) * (len(self.shadow) / 2) - 0.5
        dark = np.where(hit, map_coordinates(self.shadow, [cells[..., 1], cells[..., 0]], order=1), 0)
        light = to_linear(np.asarray(background, np.float32))
        return to_srgb(light * (1 - 0.62 * dark[..., None]))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)).astype(np.float32)


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)


def _rolled_off(light: np.ndarray) -> np.ndarray:
    rest = 1 - _SHOULDER
    return np.where(light > _SHOULDER, _SHOULDER + rest * np.tanh((light - _SHOULDER) / rest), light)
