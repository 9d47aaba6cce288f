"""Cameras around an object at the origin: orbits, rays, projection and the words for a view.

Frame: right-handed, +Z up, the object's front looks along -Y. A camera's own axes are +X right, +Y up in the picture,
looking along its -Z (Blender's and OpenGL's). Pictures are square; row 0 is the top; the centre of the pixel in row i
and column j has the pixel coordinates (j + 0.5, i + 0.5). Angles are radians.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float

from .shapes import PerPoint, Points, Rays

FRAMING_RADIUS = 4.5
"""Distance of every camera from the origin: lift, refinement and starter pictures all share it."""
FRAMING_FOV_Y_RAD = math.radians(30.0)
"""Full vertical field of view of every camera."""
FRONT_ELEVATION_RAD = math.radians(15.0)
"""Elevation of the canonical picture, the one the image stage makes; its azimuth is 0."""

# An angle that was exactly on a border in degrees stays on its side after the conversion.
_ROUNDING_RAD = 1e-6


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: cam_to_world [4, 4] (right, up, backward, position) and the full vertical field of view."""

    cam_to_world: Float[torch.Tensor, "4 4"]
    fov_y_rad: float

    @property
    def position(self) -> Float[torch.Tensor, " 3"]:
        """[3], in the world."""
        return self.cam_to_world[:3, 3]

    @property
    def azimuth_rad(self) -> float:
        """Of where it stands, as in ``orbit_camera``, in [-pi, pi]."""
        x, y, _ = self.position.tolist()
        return math.atan2(x, -y)


def orbit_camera(
    azimuth_rad: float,
    elevation_rad: float,
    *,
    radius: float = FRAMING_RADIUS,
    fov_y_rad: float = FRAMING_FOV_Y_RAD,
) -> Camera:
    """A camera that looks at the origin with +Z up.

    It stands at radius * (sin a cos e, -cos a cos e, sin e): azimuth 0 sees the front, +90 degrees stands at +X, 180
    behind. Elevations up to and including straight above and below work, since "right" depends on the azimuth alone.
    """
    sin_a, cos_a = math.sin(azimuth_rad), math.cos(azimuth_rad)
    sin_e, cos_e = math.sin(elevation_rad), math.cos(elevation_rad)
    backward = torch.tensor([sin_a * cos_e, -cos_a * cos_e, sin_e], dtype=torch.float64)
    right = torch.tensor([cos_a, sin_a, 0.0], dtype=torch.float64)
    up = torch.linalg.cross(backward, right)
    cam_to_world = torch.eye(4, dtype=torch.float64)
    cam_to_world[:3] = torch.stack([right, up, backward, radius * backward], dim=1)
    return Camera(cam_to_world.float(), fov_y_rad)


def camera_rays(camera: Camera, size: int) -> tuple[Rays, Rays]:
    """One ray per pixel centre, row by row from the top: origins and unit directions, each [size*size, 3]."""
    own = _own_directions(camera.fov_y_rad, size)
    directions = torch.nn.functional.normalize(own @ camera.cam_to_world[:3, :3].T, dim=-1)
    return camera.position.expand_as(directions).contiguous(), directions


@lru_cache(maxsize=4)
def _own_directions(fov_y_rad: float, size: int) -> Rays:
    """Through the pixels' centres in the camera's own axes, at depth 1: [size*size, 3], not to be changed."""
    steps = (torch.arange(size, dtype=torch.float32) + 0.5) / size * 2 - 1
    half = math.tan(fov_y_rad / 2)
    down, right = torch.meshgrid(steps * half, steps * half, indexing="ij")
    return torch.stack([right, -down, -torch.ones_like(down)], dim=-1).reshape(-1, 3)


def project(camera: Camera, points: Points, size: int) -> tuple[Float[torch.Tensor, "point 2"], PerPoint]:
    """Where points [N, 3] appear: pixel coordinates (x to the right, y down) [N, 2] and depth along the view axis [N].

    A point behind the camera has a depth <= 0 and meaningless pixel coordinates.
    """
    own = (points - camera.position) @ camera.cam_to_world[:3, :3]
    depth = -own[:, 2]
    scale = size / 2 / math.tan(camera.fov_y_rad / 2)
    pixels = torch.stack([own[:, 0], -own[:, 1]], dim=-1) * (scale / depth)[:, None] + size / 2
    return pixels, depth


VIEW_WORDS = {
    "front": "front view",
    "three-quarter": "three-quarter view",
    "side": "side view",
    "back": "back view",
    "above": "view from above",
}
"""What settings call a view, and what captions call it."""


def view_word(azimuth_rad: float, elevation_rad: float) -> str:
    """The words that captions use for a view; any number of turns may be added to the azimuth."""
    if elevation_rad > math.radians(40.0) + _ROUNDING_RAD:
        return VIEW_WORDS["above"]
    turned = abs(math.remainder(azimuth_rad, 2 * math.pi)) - _ROUNDING_RAD
    for limit_deg, view in ((22.5, "front"), (67.5, "three-quarter"), (112.5, "side")):
        if turned <= math.radians(limit_deg):
            return VIEW_WORDS[view]
    return VIEW_WORDS["back"]
