"""A UV atlas for a mesh and the field's colours baked into it.

UV frame: u to the right, v upwards, (0, 0) at the picture's lower left; texture row 0 is the top (see ``Mesh``).
"""

from __future__ import annotations

import numpy as np
import torch
import xatlas
from scipy.ndimage import distance_transform_edt

from ..configs.errors import BadInput, SlipcastError
from .rasterize import EMPTY, interpolate, rasterize
from .types import Mesh, RadianceField

_GUTTER_TEXELS = 8
_OUTWARD, _INWARD, _STEPS = 0.008, 0.045, 16


def unwrap(mesh: Mesh, *, size: int = 1024) -> Mesh:
    """Cut the mesh into charts and pack them without overlap (xatlas); vertices on seams are doubled.

    ``size`` is the texture's edge that the space between charts is meant for. About 1 s for 10,000 faces on one core,
    3 s for 20,000; the time depends on the shape.
    """
    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.vertices, mesh.faces.astype(np.uint32), mesh.normals)
    packing = xatlas.PackOptions()
    packing.resolution = size
    packing.padding = _GUTTER_TEXELS
    atlas.generate(pack_options=packing)
    if atlas.atlas_count != 1:
        raise SlipcastError(
            f"the mesh needs {atlas.atlas_count} texture pages instead of one; lower target_faces"
        )
    source, faces, uv = atlas[0]
    return Mesh(
        vertices=mesh.vertices[source],
        faces=faces.astype(np.int32),
        normals=mesh.normals[source],
        uv=uv.astype(np.float32).clip(0, 1),
    )


def bake(
    mesh: Mesh, field: RadianceField, *, size: int = 1024, supersample: int = 1, chunk: int = 262_144
) -> Mesh:
    """Paint the field's colours onto the mesh's atlas.

    Args:
        mesh: an unwrapped mesh near the field's surface.
        size: edge of the square texture, in texels.
        supersample: colours per texel edge; 2 averages four surface points per texel.
        chunk: field points per call; bounds the memory.

    Texels between the charts take the colour of the nearest chart texel, all the way, so that neither bilinear lookup
    nor mip-maps ever blend in a foreign colour.
    """
    if mesh.uv is None:
        raise ValueError("bake needs a mesh with uv; call unwrap first")
    if size < 16 or supersample < 1:
        raise BadInput(
            f"the texture needs at least 16 texels and supersample 1, not {size} and {supersample}"
        )
    fine = size * supersample
    texels = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], 1).astype(np.float64) * fine
    face, weights = rasterize(texels, np.ones(len(texels)), mesh.faces, fine, fine)
    covered = face != EMPTY
    if not covered.any():
        raise SlipcastError(f"no texel of the {size} x {size} texture lies in a chart; unwrap the mesh again")
    points = interpolate(mesh.vertices, mesh.faces, face, weights)
    normals = interpolate(mesh.normals, mesh.faces, face, weights)
    image = np.zeros((fine, fine, 3), np.float32)
    image[covered] = surface_colors(field, points, normals, chunk=chunk)
    image, covered = _average(image, covered, supersample)
    return mesh.with_(texture=(fill_outside(image, covered) * 255 + 0.5).clip(0, 255).astype(np.uint8))


def surface_colors(
    field: RadianceField, points: np.ndarray, normals: np.ndarray, *, chunk: int = 262_144
) -> np.ndarray:
    """What the field shows at surface points seen along the normal, [N, 3] float32 in [0, 1].

    The volume-rendering sum (Max 1995; NeRF eq. 3) over a short segment from just outside to a little inside, divided
    by its opacity: empty air has no weight, however it is coloured, and colours deep inside are hidden, as in a render.
    Where the segment meets no density at all, the point itself is asked.

    points, normals [N, 3]; normals need not be of unit length.
    """
    edges = torch.linspace(_OUTWARD, -_INWARD, _STEPS + 1)
    offsets = (edges[1:] + edges[:-1]) / 2
    step = (_OUTWARD + _INWARD) / _STEPS
    colors = np.empty((len(points), 3), np.float32)
    rows = max(1, chunk // _STEPS)
    with torch.inference_mode():
        for start in range(0, len(points), rows):
            base = torch.as_tensor(points[start : start + rows], dtype=torch.float32)
            direction = torch.as_tensor(normals[start : start + rows], dtype=torch.float32)
            direction = torch.nn.functional.normalize(direction, dim=1)
            along = base[:, None] + offsets[None, :, None] * direction[:, None]
            density, rgb = field(along.reshape(-1, 3).clamp(-1, 1))
            colors[start : start + rows] = _composite(
                density.reshape(-1, _STEPS).float(), rgb.reshape(-1, _STEPS, 3).float(), step
            ).numpy()
    if not np.isfinite(colors).all():
        raise SlipcastError("the field's colour is not finite at the surface; run the refinement again")
    return colors


def fill_outside(image: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Every texel outside ``covered`` [H, W] gets the colour of the nearest one inside; image [H, W, 3]."""
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    rows, columns = np.asarray(nearest)
    return image[rows, columns]


def _composite(density: torch.Tensor, rgb: torch.Tensor, step: float) -> torch.Tensor:
    """density [N, S], rgb [N, S, 3], in the order in which the eye meets them -> [N, 3]."""
    optical = density * step
    before = torch.cumsum(optical, dim=1) - optical
    weights = torch.exp(-before) * (1 - torch.exp(-optical))
    opacity = weights.sum(dim=1, keepdim=True)
    # Numerically empty segments (a decimated corner may stand off the field): the middle of the skin decides.
    surface = torch.zeros_like(weights)
    surface[:, int(_OUTWARD / step)] = 1
    weights = torch.where(opacity > 1e-4, weights / opacity.clamp_min(1e-4), surface)
    return (weights[..., None] * rgb).sum(dim=1)


def _average(image: np.ndarray, covered: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Box-average factor x factor texels, counting covered ones only; image must be 0 elsewhere."""
    if factor == 1:
        return image, covered
    size = len(image) // factor
    count = covered.reshape(size, factor, size, factor).sum(axis=(1, 3))
    total = image.reshape(size, factor, size, factor, 3).sum(axis=(1, 3))
    return total / np.maximum(count, 1)[..., None], count > 0
