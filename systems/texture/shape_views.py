"""What ControlNets are shown of a mesh while it is painted: its edges or its depth from every camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ...configs.names import unknown_name
from ..field.cameras import Camera, project
from ..mesh.cleaning import unit
from ..mesh.rasterizer import EMPTY, interpolate, rasterize
from ..types import Mesh

_FARTHEST = 0.2  # brightness of the farthest part; what is behind the object is black


def normals_view(mesh: Mesh, camera: Camera, size: int) -> np.ndarray:
    """The normals in the camera's axes as colours (1 + n) / 2, [size, size, 3], black where there is no mesh."""
    face, weights, _ = _drawn(mesh, camera, size)
    own = unit(interpolate(mesh.normals, mesh.faces, face, weights)) @ camera.cam_to_world[:3, :3].numpy()
    return _filled(face, (1 + own) / 2)


def depth_view(mesh: Mesh, camera: Camera, size: int) -> np.ndarray:
    """Nearness, [size, size, 3]: 1 at the nearest point of the view, black where there is no mesh."""
    face, weights, depth = _drawn(mesh, camera, size)
    seen = interpolate(depth[:, None], mesh.faces, face, weights)
    if len(seen):
        near, far = seen.min(), seen.max()
        seen = 1 - (1 - _FARTHEST) * (seen - near) / max(far - near, 1e-6)
    return _filled(face, np.repeat(seen, 3, axis=1))


VIEWS: dict[str, Callable[[Mesh, Camera, int], np.ndarray]] = {"canny": normals_view, "depth": depth_view}
"""By the kind of ControlNet; of canny's pictures the edges are what it is shown (``images.control_maps.canny``)."""


def shape_views(mesh: Mesh, cameras: Sequence[Camera], size: int, kind: str) -> np.ndarray:
    """The pictures of one kind from every camera, [V, size, size, 3]. BadInput for an unknown kind."""
    if kind not in VIEWS:
        raise unknown_name("kind of paint.control", kind, VIEWS)
    return np.stack([VIEWS[kind](mesh, camera, size) for camera in cameras]).astype(np.float32)


def _drawn(mesh: Mesh, camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pixels, depth = project(camera, torch.as_tensor(mesh.vertices), size)
    face, weights = rasterize(pixels.numpy(), depth.numpy(), mesh.faces, size, size)
    return face, weights, depth.numpy()


def _filled(face: np.ndarray, values: np.ndarray) -> np.ndarray:
    picture = np.zeros((*face.shape, 3))
    picture[face != EMPTY] = values
    return picture
