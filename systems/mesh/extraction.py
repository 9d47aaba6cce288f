"""The surface of a radiance field as a closed triangle mesh.

Marching cubes on blocks near the level set (``density_sampling``, ``marching_cubes``), pieces that nobody can see
removed, voxel steps smoothed off, every vertex pulled back onto the level set (``level_set``), decimated, normals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import interpolate

from ...configs.errors import BadInput, SlipcastError
from ..field.density_sampling import SampledDensity, look_at, sample_near_surface
from ..field.iso_level import density_level, no_surface
from ..types import Mesh, RadianceField
from .cleaning import keep_visible_pieces, normals_from, parted, smooth, vertex_normals
from .decimation import MAX_FACES, decimate
from .hard_edges import split_creases
from .level_set import pull_to_level
from .marching_cubes import marching_cubes, solidity
from .report import merged

_TAUBIN_ITERATIONS = 8
_SPONGE_FACES = 500_000
_SPONGE_SHARE = 30  # times resolution^2: more than the walls of two boxes, one in the other
_COARSEST = 40

LOD_FRACTIONS = (1.0, 0.5, 0.25, 0.1)


class Surface(NamedTuple):
    """The surface before decimation and after it, and the density whose level set it is."""

    fine: Mesh
    reduced: Mesh
    threshold: float


def extract_surface(
    field: RadianceField,
    *,
    resolution: int = 128,
    threshold: float | str = "auto",
    target_faces: int = 10_000,
    keep_components: float = 0.03,
    crease_deg: float = 180.0,
    chunk: int = 262_144,
) -> Surface:
    """The iso-surface of a field's density in [-1, 1]^3: closed, outward, with smooth normals, without uv.

    It comes as it was before decimation, from which a normal map can be baked, and ``reduced``. A sponge of noise has
    too many holes for any decimation: its grid is blurred and halved until the mesh is small.

    Args:
        resolution: grid nodes along each axis of the box. Only blocks near the surface are asked.
        threshold: the density of the surface, or "auto": the level whose outlines agree best with the field's own
            opacity (see ``surface_level``).
        target_faces: wanted face count; a mesh that cannot be reduced so far without breaking keeps more.
        keep_components: pieces enclosing less than this fraction of the largest piece's volume are dropped, and so are
            cavities and pieces inside others.
        crease_deg: edges whose faces' normals differ by more than this angle are shaded as sharp: their vertices are
            doubled. 180 leaves all smooth.
        chunk: points per call of the field; bounds the memory.

    Raises:
        SlipcastError: the field has no surface at that threshold, or its density is not finite.
        BadInput: an argument out of range.
    """
    _check(resolution, target_faces, keep_components, crease_deg)
    look = look_at(field, resolution, chunk)
    wanted = level = density_level(threshold, look)
    if look.density.min() >= level:
        raise SlipcastError(
            f"the field fills its whole box: its lowest density, {look.density.min():.3g}, is not below the threshold "
            f"{level:.3g}; choose a higher threshold, or run the lift again with another seed"
        )
    sampled = sample_near_surface(field, resolution, level, look, chunk)
    fine = _fine_surface(sampled, level, keep_components, field)
    while fine is not None:
        coarsest = len(sampled.density) <= _COARSEST
        if len(fine.faces) <= max(_SPONGE_FACES, _SPONGE_SHARE * len(sampled.density) ** 2) or coarsest:
            few = reduced(fine, target_faces, crease_deg=crease_deg)
            if len(few.faces) <= max(MAX_FACES, target_faces) or coarsest:
                return Surface(fine, few, wanted)
        sampled, level = _halved(sampled, level), 0.5
        fine = _fine_surface(sampled, level, keep_components, None)
    raise no_surface(wanted, float(look.density.max()))


def reduced(fine: Mesh, target_faces: int, *, crease_deg: float = 180.0) -> Mesh:
    """A mesh of about ``target_faces``, closed as ``fine`` is, with normals taken from it; without uv and textures.

    fine: every position once.

    A mesh that cannot be reduced so far without breaking keeps more faces (see ``decimate``).
    """
    vertices, few = decimate(fine.vertices.astype(np.float64), fine.faces.astype(np.int64), target_faces)
    normals = fine.normals
    if len(few) < len(fine.faces):
        normals = normals_from(fine.vertices, normals, vertices, vertex_normals(vertices, few))
    mesh = Mesh(parted(vertices.astype(np.float32), few), few.astype(np.int32), normals)
    return split_creases(mesh, math.radians(crease_deg))


def levels_of_detail(
    mesh: Mesh, fractions: Sequence[float] = LOD_FRACTIONS, *, crease_deg: float = 180.0
) -> list[Mesh]:
    """Further decimations for far-away views, one per fraction of the faces, each closed, with normals, without uv.

    Each needs an atlas and textures of its own. A level that cannot be reached without breaking keeps more faces, but
    never more than one of a higher fraction.

    Raises:
        BadInput: a fraction outside ]0, 1].
    """
    if not fractions or not all(0 < fraction <= 1 for fraction in fractions):
        raise BadInput(
            f"levels of detail are fractions of the faces above 0 and up to 1, not {list(fractions)}"
        )
    positions, faces = merged(mesh.vertices, mesh.faces)
    welded = Mesh(positions, faces.astype(np.int32), vertex_normals(positions, faces))
    levels, finer = {}, None
    for fraction in sorted(set(fractions), reverse=True):
        level = reduced(welded, max(4, round(len(faces) * fraction)), crease_deg=crease_deg)
        levels[fraction] = finer = level if finer is None or len(level.faces) <= len(finer.faces) else finer
    return [levels[fraction] for fraction in fractions]


def _check(resolution: int, target_faces: int, keep_components: float, crease_deg: float) -> None:
    if resolution < 8:
        raise BadInput(f"the mesh resolution must be at least 8 grid nodes, not {resolution}")
    if target_faces < 100:
        raise BadInput(f"target_faces must be at least 100, not {target_faces}")
    if not 0 <= keep_components <= 1:
        raise BadInput(f"keep_components is a fraction from 0 to 1, not {keep_components}")
    if not 0 <= crease_deg <= 180:
        raise BadInput(f"the crease angle lies between 0 and 180 degrees, not {crease_deg}")


def _fine_surface(
    sampled: SampledDensity, level: float, keep_components: float, field: RadianceField | None
) -> Mesh | None:
    """Marching cubes, invisible pieces removed, smoothed, pulled to the field's level; None if nothing reaches it."""
    vertices, faces = marching_cubes(sampled, level)
    if len(faces) == 0:
        return None
    vertices, faces = keep_visible_pieces(vertices, faces, keep_components)
    vertices = smooth(vertices, faces, _TAUBIN_ITERATIONS)
    if field is not None:
        vertices = pull_to_level(field, vertices, faces, level, 1 / (len(sampled.density) - 1))
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), vertex_normals(vertices, faces))


def _halved(sampled: SampledDensity, level: float) -> SampledDensity:
    """Half as many nodes along each axis, blurred; values run from 0 (air) over 1/2 (the surface) to 1 (solid).

    Before, they are cut off as far above the level as below it: blurred, a lopsided step would move.
    """
    solid = solidity(sampled.density, level)
    reach = np.median(solid[solid > 0.5]) - 0.5
    even = np.clip(0.5 + (solid - 0.5) * (0.5 / reach), 0, 1)
    blurred = gaussian_filter(even, 1.0, mode="nearest")
    half = (len(blurred) + 1) // 2
    # The outermost nodes stay at the border of the box, also where their number is even.
    density = interpolate(
        torch.from_numpy(blurred)[None, None], size=(half,) * 3, mode="trilinear", align_corners=True
    )
    return SampledDensity.whole(density[0, 0].numpy())
