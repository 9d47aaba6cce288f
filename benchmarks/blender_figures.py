"""The figures of ``blender_check``: one asset written, read back by others, drawn by Cycles and by our rasteriser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from slipcast.pipeline.assets.asset import Asset
from slipcast.pipeline.assets.placing import view_placement
from slipcast.pipeline.blender.looking import Look, look_at_glb
from slipcast.pipeline.blender.process import Blender
from slipcast.pipeline.blender.writer import build_blend
from slipcast.pipeline.exporters.glb import read_glb, write_glb
from slipcast.pipeline.exporters.preview import render_mesh
from slipcast.systems.field.cameras import Camera, orbit_camera
from slipcast.systems.mesh.report import is_outward, is_watertight, merged, silhouette_iou
from slipcast.systems.texture.atlas import atlas_report
from slipcast.systems.texture.quality import seam_difference
from slipcast.systems.types import Mesh

from .gltf_validation import validate

_SIZE, _SAMPLES = 256, 16
_AZIMUTH_RAD, _ELEVATION_RAD = math.radians(35), math.radians(20)  # a view in which left and right differ
_GROUND = (0.5, 0.5, 0.5)


def examine(
    asset: Asset, folder: Path, blender: Blender, validator: str | None
) -> tuple[dict[str, Any], np.ndarray]:
    """All figures of one asset, and the two pictures side by side, [S, 2 S, 3] uint8."""
    glb, blend = folder / f"{asset.name}.glb", folder / f"{asset.name}.blend"
    write_glb(asset, glb)
    camera = camera_for(asset.mesh)
    look = look_at_glb(glb, blender, camera=camera, size=_SIZE, samples=_SAMPLES)
    # The thumbnail, most of a .blend's time, is another picture with tests of its own.
    in_blend = build_blend(asset, blend, blender, preview=False)
    row = {"faces": len(asset.mesh.faces)}
    row |= {"validator_issues": None if validator is None else issues(validator, glb)}
    row |= geometry(asset, read_glb(glb)[0], look, in_blend) | health(asset.mesh) | atlas(asset.mesh)
    rgb, alpha = render_mesh(asset.mesh, camera, _SIZE, _GROUND, shading="none", supersample=4)
    assert look.rgba is not None
    row |= agreement(rgb, alpha, look.rgba)
    return row, np.concatenate([(rgb * 255 + 0.5).astype(np.uint8), over(look.rgba)], 1)


def camera_for(mesh: Mesh) -> Camera:
    """A camera that sees the whole mesh where it stands: an orbit round its middle, as far away as its size asks."""
    placement = view_placement(mesh)
    matrix = orbit_camera(_AZIMUTH_RAD, _ELEVATION_RAD).cam_to_world.double().clone()
    matrix[:3, 3] = matrix[:3, 3] / placement.scale + matrix.new_tensor(placement.origin)
    return Camera(matrix.float(), orbit_camera(0, 0).fov_y_rad)


def issues(validator: str, path: Path) -> int:
    """Errors and warnings of Khronos' validator."""
    (found,) = validate(validator, [path])
    return found["numErrors"] + found["numWarnings"]


def geometry(asset: Asset, by_trimesh: Mesh, look: Look, in_blend: Mapping[str, Any]) -> dict[str, float]:
    """Whether trimesh, Blender's importer and the .blend hold the same object, with its material and textures."""
    mesh = asset.mesh
    both = (look.facts, in_blend)
    bodies = [[item for item in found["objects"] if item["type"] == "MESH"] for found in both]
    # Counted in triangles: a quad of the .blend is two of them.
    triangles = [sum(item["faces"] + item["quads"] for item in found) for found in bodies]
    counts = [len(by_trimesh.faces), *triangles]
    materials = [{name for item in found for name in item["materials"]} for found in bodies]
    maps = [picture for picture in (mesh.texture, mesh.normal_map, mesh.orm) if picture is not None]
    loose = 0
    for found in both:
        packed = sum(image["packed"] for image in found["images"].values())
        loose += abs(len(maps) - packed) + len(found["missing_files"])
    bounds = np.array([mesh.vertices.min(0), mesh.vertices.max(0)])
    return {
        "trimesh_distance_m": apart(mesh.vertices, by_trimesh.vertices),
        "blender_distance_m": apart(mesh.vertices, look.vertices),
        "blend_bounds_m": float(max(np.abs(np.array(item["bounds"]) - bounds).max() for item in bodies[1])),
        "lost_faces": sum(abs(len(mesh.faces) - count) for count in counts),
        "odd_materials": sum(len(found) != 1 for found in materials),
        "loose_textures": loose,
    }


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest distance of a point of one set to the nearest of the other, both ways."""
    return float(max(KDTree(b).query(a)[0].max(), KDTree(a).query(b)[0].max()))


def health(mesh: Mesh) -> dict[str, float]:
    """Faults of the mesh itself; a face is degenerate if its area is nothing beside the square of the object's size."""
    positions, faces = merged(mesh.vertices, mesh.faces)
    a, b, c = (positions[faces[:, k]].astype(np.float64) for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    size = np.linalg.norm(np.ptp(positions.astype(np.float64), axis=0))
    uv = np.zeros((0, 2)) if mesh.uv is None else mesh.uv
    return {
        "open_surfaces": int(not (is_watertight(faces) and is_outward(positions, faces))),
        "degenerate_faces": int((area <= 1e-12 * size**2).sum()),
        "uv_outside": int((~((uv >= 0) & (uv <= 1))).any(1).sum()),
    }


def atlas(mesh: Mesh) -> dict[str, float | None]:
    """How well the texture is used, at its own texels; None for a mesh without one."""
    if mesh.uv is None or mesh.texture is None:
        return dict.fromkeys(("atlas_use", "atlas_overlap", "seam_difference"))
    told = atlas_report(mesh, len(mesh.texture))
    return {
        "atlas_use": round(told.used, 4),
        "atlas_overlap": told.overlap,
        "seam_difference": round(seam_difference(mesh).median, 3),
    }


def agreement(rgb: np.ndarray, alpha: np.ndarray, rgba: np.ndarray) -> dict[str, float | None]:
    """Our picture, rgb [S, S, 3] and alpha [S, S] in [0, 1], against Cycles' [S, S, 4] uint8."""
    theirs = rgba.astype(np.float32) / 255
    both = (alpha > 0.999) & (theirs[..., 3] > 0.999)
    error = np.abs(rgb - theirs[..., :3])[both].mean() * 255 if both.any() else math.nan
    return {
        "silhouette_iou": round(float(silhouette_iou(alpha, theirs[..., 3])), 4),
        "colour_error": None if math.isnan(error) else round(float(error), 3),
    }


def over(rgba: np.ndarray) -> np.ndarray:
    """A picture with straight alpha over grey, uint8 [S, S, 3]."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return (rgba[..., :3] * alpha + 255 * _GROUND[0] * (1 - alpha) + 0.5).astype(np.uint8)
