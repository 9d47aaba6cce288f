"""The field's colours baked into a mesh's atlas.

UV frame: u to the right, v upwards, (0, 0) at the picture's lower left; texture row 0 is the top (see ``Mesh``).
"""

from __future__ import annotations

import numpy as np
import torch

from ...configs.errors import BadInput, SlipcastError
from ..field.query import query
from ..types import Mesh, RadianceField
from .texels import Texels, push_pull, surface_texels

_OUTWARD, _INWARD, _STEPS = 0.008, 0.045, 16


def bake(
    mesh: Mesh,
    field: RadianceField,
    *,
    size: int = 1024,
    supersample: int = 1,
    chunk: int = 262_144,
    texels: Texels | None = None,
) -> Mesh:
    """Paint the field's colours onto the mesh's atlas.

    Args:
        mesh: an unwrapped mesh near the field's surface.
        size: edge of the square texture, in texels.
        supersample: colours per texel edge; 2 averages four surface points per texel.
        chunk: field points per call; bounds the memory.
        texels: those of ``surface_texels(mesh, size * supersample)``, if they are at hand.

    Texels between the charts are filled from them, all the way, so that neither bilinear lookup nor mip-maps ever blend
    in a colour that no chart has (``texels.push_pull``).
    """
    if supersample < 1 or size < 16:
        raise BadInput(
            f"the texture needs at least 16 texels and supersample 1, not {size} and {supersample}"
        )
    texels = texels or surface_texels(mesh, size * supersample)
    colors = np.empty((len(texels), 3), np.float32)
    for part in texels.pieces(chunk):
        points = texels.interpolate(mesh.vertices, mesh.faces, part)
        normals = texels.interpolate(mesh.normals, mesh.faces, part)
        colors[part] = surface_colors(field, points, normals, chunk=chunk)
    image = texels.picture(colors)
    if supersample > 1:
        covered = np.zeros(texels.size**2, bool)
        covered[texels.index] = True
        covered = covered.reshape(texels.size, texels.size)
        image = push_pull(*_average(image * covered[..., None], covered, supersample))
    return mesh.with_(texture=(image * 255 + 0.5).clip(0, 255).astype(np.uint8))


def surface_colors(
    field: RadianceField,
    points: np.ndarray,
    towards: np.ndarray,
    *,
    chunk: int = 262_144,
) -> np.ndarray:
    """What the field shows at surface points to an eye in a direction, [N, 3] float32 in [0, 1].

    The volume-rendering sum (Max 1995; NeRF eq. 3) over a short segment from just outside to a little inside, divided
    by its opacity: empty air has no weight, however it is coloured, and colours deep inside are hidden, as in a render.
    Where the segment meets no density at all, the point itself is asked.

    points [N, 3]; towards [N, 3]: to the eye, of any length.
    """
    edges = torch.linspace(_OUTWARD, -_INWARD, _STEPS + 1)
    offsets = (edges[1:] + edges[:-1]) / 2
    step = (_OUTWARD + _INWARD) / _STEPS
    colors = np.empty((len(points), 3), np.float32)
    rows = max(1, chunk // _STEPS)
    with torch.inference_mode():
        for start in range(0, len(points), rows):
            base = torch.as_tensor(points[start : start + rows], dtype=torch.float32)
            direction = torch.as_tensor(towards[start : start + rows], dtype=torch.float32)
            direction = torch.nn.functional.normalize(direction, dim=1)
            along = base[:, None] + offsets[None, :, None] * direction[:, None]
            density, rgb = query(field, along.reshape(-1, 3).clamp(-1, 1), chunk=chunk)
            colors[start : start + rows] = _composite(
                density.reshape(-1, _STEPS), rgb.reshape(-1, _STEPS, 3), step
            ).numpy()
    if not np.isfinite(colors).all():
        raise SlipcastError("the field's colour is not finite at the surface; run the refinement again")
    return colors


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
    size = len(image) // factor
    count = covered.reshape(size, factor, size, factor).sum(axis=(1, 3))
    total = image.reshape(size, factor, size, factor, 3).sum(axis=(1, 3))
    return total / np.maximum(count, 1)[..., None], count > 0
