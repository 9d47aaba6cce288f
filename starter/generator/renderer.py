"""A small deferred renderer: z-buffer, 2x2 supersampling, soft light fixed to the WORLD, clean coverage in alpha.

Camera (the contract of every stage): position r (sin a cos e, -cos a cos e, sin e) with r = 4.5, looking at the origin,
+Z up, vertical field of view 30 degrees, square pictures. The light is soft and of low contrast on purpose: score
distillation must find the same shading from every side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...systems.compiled import compiled
from .objects import GeneratedObject
from .renderer_colour import COAT, METALLIC, ROUGHNESS, surface_colour
from .renderer_raster import parallel_bases, parallel_maps, rasterise, sphere_directions, view_basis

RADIUS = 4.5
FOV_Y_RAD = math.radians(30)
_SUPERSAMPLING = 2
_OCCLUSION_VIEWS, _OCCLUSION_SIZE, _SHADOW_SIZE = 14, 72, 160
_OCCLUSION_DIRECTIONS = sphere_directions(_OCCLUSION_VIEWS, lowest=-0.35).astype(np.float32)
_OCCLUSION_BASES = parallel_bases(_OCCLUSION_DIRECTIONS, _OCCLUSION_SIZE)


@dataclass(frozen=True)
class Lighting:
    """What lights one object, computed once for all of its views.

    key [3] unit vector towards the key light, shadow [1, S, S] its height map, shadow_basis [1, 3, 4],
    occlusion [D, s, s] height maps of the sky directions.
    """

    key: np.ndarray
    shadow: np.ndarray
    shadow_basis: np.ndarray
    occlusion: np.ndarray


def light_object(obj: GeneratedObject) -> Lighting:
    """Shadow and occlusion maps of an object."""
    basis = parallel_bases(obj.key_light[None], _SHADOW_SIZE)
    return Lighting(
        key=obj.key_light.astype(np.float32),
        shadow=parallel_maps(obj.vertices, obj.faces, basis, _SHADOW_SIZE),
        shadow_basis=basis,
        occlusion=parallel_maps(obj.vertices, obj.faces, _OCCLUSION_BASES, _OCCLUSION_SIZE),
    )


@compiled(inline="always")
def _lit(heights, basis, x, y, z, bias):
    """How much of a point sees along a basis: bilinear mean of four height-map tests, 0 to 1."""
    size = heights.shape[0]
    sx = basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z + basis[0, 3] - 0.5
    sy = basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z + basis[1, 3] - 0.5
    h = basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z + bias
    sx, sy = min(max(sx, 0.0), size - 1.001), min(max(sy, 0.0), size - 1.001)
    ix, iy = int(sx), int(sy)
    tx, ty = sx - ix, sy - iy
    lit = 0.0
    if h >= heights[iy, ix]:
        lit += (1 - tx) * (1 - ty)
    if h >= heights[iy, ix + 1]:
        lit += tx * (1 - ty)
    if h >= heights[iy + 1, ix]:
        lit += (1 - tx) * ty
    if h >= heights[iy + 1, ix + 1]:
        lit += tx * ty
    return lit


@compiled()
def _visibility(x, y, z, nx, ny, nz, shadow, shadow_basis, occlusion, bases, directions):
    """(share of the key light, share of the sky) that reach a point: a 3x3 soft shadow and directional occlusion."""
    x, y, z = x + 0.012 * nx, y + 0.012 * ny, z + 0.012 * nz
    spread = 0.03
    basis = shadow_basis[0]
    scale2 = basis[0, 0] ** 2 + basis[0, 1] ** 2 + basis[0, 2] ** 2
    key = 0.0
    for i in range(-1, 2):
        for j in range(-1, 2):
            ox = spread * (i * basis[0, 0] + j * basis[1, 0]) / math.sqrt(scale2)
            oy = spread * (i * basis[0, 1] + j * basis[1, 1]) / math.sqrt(scale2)
            oz = spread * (i * basis[0, 2] + j * basis[1, 2]) / math.sqrt(scale2)
            key += _lit(shadow[0], basis, x + ox, y + oy, z + oz, 0.03)
    sky, total = 0.0, 1e-6
    for d in range(directions.shape[0]):
        facing = nx * directions[d, 0] + ny * directions[d, 1] + nz * directions[d, 2]
        if facing > 0.05:
            sky += facing * _lit(occlusion[d], bases[d], x, y, z, 0.05)
            total += facing
    # Faces that look straight down see no sky direction at all: call them half open.
    return key / 9.0, sky / total if total > 0.05 else 0.5


@compiled(inline="always")
def _step(low, high, x):
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


@compiled()
def _studio(x, y, z, key, roughness):
    """Brightness of the studio in a direction: floor, sky, a softbox at the key light, a strip opposite."""
    blur = 0.05 + 0.5 * roughness
    ambient = 0.30 + 0.55 * _step(-0.25 - blur, 0.75 + blur, z)
    box = _step(0.86 - blur, 0.92, x * key[0] + y * key[1] + z * key[2])
    strip = _step(0.90 - blur, 0.96, -0.80 * key[0] * x - 0.55 * key[1] * y + 0.5 * z)
    return ambient + (1.9 * box + 0.9 * strip) / (1 + 5 * roughness)


@compiled(inline="always")
def _display(c):
    """Linear light to an sRGB value in [0, 1], with a soft shoulder above 0.75 so that highlights keep their colour."""
    if c > 0.75:
        c = 0.75 + 0.25 * (1 - math.exp(-(c - 0.75) / 0.25))
    return 12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055


@compiled()
def _shade(
    screen, inverse_depth, ids, faces, vertices, normals, uv, face_row, table, sheet, tile, eye,
    key, shadow, shadow_basis, occlusion, bases, directions, rgba, depth,
):  # fmt: skip
    size = rgba.shape[0]
    samples = ids.shape[0] // size
    for py in range(size):
        for px in range(size):
            red, green, blue, far, covered = 0.0, 0.0, 0.0, 0.0, 0
            lastx, lasty, lastz, key_share, sky_share = 9.0, 9.0, 9.0, 1.0, 1.0
            for sub in range(samples * samples):
                iy, ix = py * samples + sub // samples, px * samples + sub % samples
                if inverse_depth[iy, ix] <= 0:
                    continue
                f = ids[iy, ix]
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                ax, ay = screen[a, 0], screen[a, 1]
                e1x, e1y, e2x, e2y = (
                    screen[b, 0] - ax,
                    screen[b, 1] - ay,
                    screen[c, 0] - ax,
                    screen[c, 1] - ay,
                )
                qx, qy = ix + 0.5 - ax, iy + 0.5 - ay
                inv = 1.0 / (e1x * e2y - e1y * e2x)
                wb, wc = (qx * e2y - qy * e2x) * inv, (qy * e1x - qx * e1y) * inv
                wa = 1.0 - wb - wc
                # Perspective: attributes over depth are affine on the screen, attributes are not.
                wa, wb, wc = wa * screen[a, 2], wb * screen[b, 2], wc * screen[c, 2]
                total = 1.0 / (wa + wb + wc)
                wa, wb, wc = wa * total, wb * total, wc * total
                x = wa * vertices[a, 0] + wb * vertices[b, 0] + wc * vertices[c, 0]
                y = wa * vertices[a, 1] + wb * vertices[b, 1] + wc * vertices[c, 1]
                z = wa * vertices[a, 2] + wb * vertices[b, 2] + wc * vertices[c, 2]
                nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
                ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
                nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
                vx, vy, vz = eye[0] - x, eye[1] - y, eye[2] - z
                length = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz)
                vx, vy, vz = vx * length, vy * length, vz * length
                length = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
                facing = (nx * vx + ny * vy + nz * vz) * length
                if facing < 0 and facing > -0.35:
                    facing = 0.0  # an interpolated normal that leans past the horizon
                elif facing < 0:
                    length, facing = -length, -facing  # the inner side of an open surface
                nx, ny, nz = nx * length, ny * length, nz * length
                u = wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0]
                v = wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1]
                row = table[face_row[f]]
                cr, cg, cb = surface_colour(row, sheet, tile, x, y, z, nx, ny, nz, u, v)
                if abs(x - lastx) + abs(y - lasty) + abs(z - lastz) > 0.06:
                    key_share, sky_share = _visibility(
                        x, y, z, nx, ny, nz, shadow, shadow_basis, occlusion, bases, directions
                    )
                    lastx, lasty, lastz = x, y, z
                roughness, metallic, coat = row[ROUGHNESS], row[METALLIC], row[COAT]
                lambert = nx * key[0] + ny * key[1] + nz * key[2]
                wrapped = max(0.0, (lambert + 0.25) / 1.25)
                ambient = (0.47 + 0.15 * nz) * (0.35 + 0.65 * sky_share)
                fill = 0.10 * max(0.0, -nx * key[0] - ny * key[1] + 0.3 * nz)
                diffuse = (ambient + fill + 0.58 * wrapped * (0.35 + 0.65 * key_share)) * (1 - metallic)
                rx, ry, rz = 2 * facing * nx - vx, 2 * facing * ny - vy, 2 * facing * nz - vz
                mirror = _studio(rx, ry, rz, key, roughness) * (0.4 + 0.6 * sky_share)
                grazing = (1 - facing) ** 5
                gloss = coat * (0.04 + 0.5 * grazing * (1 - roughness)) * mirror
                metal = metallic * 1.05 * mirror
                red += _display(cr * (diffuse + metal) + gloss)
                green += _display(cg * (diffuse + metal) + gloss)
                blue += _display(cb * (diffuse + metal) + gloss)
                far += 1.0 / inverse_depth[iy, ix]
                covered += 1
            if covered > 0:
                rgba[py, px, 0] = min(255, int(255 * red / covered + 0.5))
                rgba[py, px, 1] = min(255, int(255 * green / covered + 0.5))
                rgba[py, px, 2] = min(255, int(255 * blue / covered + 0.5))
                rgba[py, px, 3] = int(255.0 * covered / (samples * samples) + 0.5)
                depth[py, px] = far / covered


def eye_position(azimuth_rad: float, elevation_rad: float) -> np.ndarray:
    """The camera's position [3] on its sphere of radius 4.5."""
    a, e = azimuth_rad, elevation_rad
    return RADIUS * np.array([math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)])


def project(vertices: np.ndarray, azimuth_rad: float, elevation_rad: float, size: int) -> np.ndarray:
    """Screen vertices [V, 3] (x, y in pixels, 1/depth) under the contract's camera, float32."""
    eye = eye_position(azimuth_rad, elevation_rad)
    basis = view_basis(eye)
    view = (vertices - eye) @ basis.T
    inverse = -1.0 / view[:, 2]
    focal = size / 2 / math.tan(FOV_Y_RAD / 2)
    return np.stack(
        [focal * view[:, 0] * inverse + size / 2, focal * view[:, 1] * inverse + size / 2, inverse], 1
    ).astype(np.float32)


def render_rgba(
    obj: GeneratedObject,
    azimuth_rad: float,
    elevation_rad: float,
    size: int = 128,
    lighting: Lighting | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one view.

    Args: lighting: from ``light_object``; pass it when drawing several views of one object, it is the same for all.
    Returns: rgba [size, size, 4] uint8 (sRGB, straight alpha = coverage) and depth [size, size] float32 along the
        viewing axis, inf where the object is not.
    """
    lighting = lighting or light_object(obj)
    fine = size * _SUPERSAMPLING
    screen = project(obj.vertices, azimuth_rad, elevation_rad, fine)
    inverse_depth = np.zeros((fine, fine), np.float32)
    ids = np.zeros((fine, fine), np.int32)
    rasterise(screen, obj.faces, inverse_depth, ids)
    rgba = np.zeros((size, size, 4), np.uint8)
    depth = np.full((size, size), np.inf, np.float32)
    _shade(
        screen, inverse_depth, ids, obj.faces, obj.vertices, obj.normals, obj.uv, obj.face_row, obj.table, obj.sheet,
        obj.tile, eye_position(azimuth_rad, elevation_rad), lighting.key, lighting.shadow, lighting.shadow_basis,
        lighting.occlusion, _OCCLUSION_BASES, _OCCLUSION_DIRECTIONS, rgba, depth,
    )  # fmt: skip
    return rgba, depth
