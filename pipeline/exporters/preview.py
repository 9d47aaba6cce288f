"""Pictures of a finished mesh without a GPU: single views, a sheet beside the subject's picture, a turntable.

``shading="none"`` shows the baked colours as they are, ``"soft"`` lights them from the camera's upper left: both for
evaluation. ``"table"`` is for people: all maps under a soft box, on a table that carries a shadow (``lighting``).
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from PIL import Image

from ...configs.atomic import explain_os_errors, write_bytes
from ...configs.errors import BadInput, SlipcastError
from ...systems.field.cameras import FRONT_ELEVATION_RAD, Camera, orbit_camera, project
from ...systems.mesh.rasterizer import EMPTY, interpolate, rasterize
from ...systems.texture.lookup import sample_texture, shrink_to_footprint
from ...systems.types import Mesh, SubjectImage
from .lighting import KEY, Table, lit

Color = tuple[float, float, float]
WHITE: Color = (1.0, 1.0, 1.0)
PAPER: Color = (0.93, 0.93, 0.92)
CLAY: Color = (0.72, 0.70, 0.68)
"""Colour of a mesh without texture."""
CLAY_LINEAR = tuple(round(((c + 0.055) / 1.055) ** 2.4, 4) for c in CLAY)
"""The same in linear light, as glTF and USD read a factor; it is far from sRGB's toe."""
_AMBIENT = 0.45
SHADINGS = ("none", "soft", "table")
_SEARCHED_SIZES = (1.0, 0.8, 0.6, 0.45, 0.3)


def render_mesh(
    mesh: Mesh,
    camera: Camera,
    size: int = 256,
    background: Color = WHITE,
    *,
    shading: str = "soft",
    supersample: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """One view: rgb [size, size, 3] over the background and coverage alpha [size, size], float32 in [0, 1], sRGB."""
    return render_views(mesh, [camera], size, background, shading=shading, supersample=supersample)[0]


def render_views(
    mesh: Mesh,
    cameras: Sequence[Camera],
    size: int = 256,
    background: Color = WHITE,
    *,
    shading: str = "soft",
    supersample: int = 2,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """``render_mesh`` for many cameras; the shrunken texture is made once, for the first camera's distance."""
    if shading not in SHADINGS:
        raise BadInput(f"shading must be one of {', '.join(SHADINGS)}, not {shading!r}")
    fine = size * supersample
    views = [_place(mesh, camera, fine) for camera in cameras]
    if views and mesh.texture is not None:
        maps = {"texture": shrink_to_footprint(mesh, views[0][0])}
        if shading == "table" and mesh.orm is not None:
            maps["orm"] = shrink_to_footprint(mesh.with_(texture=mesh.orm), views[0][0])
        mesh = mesh.with_(**maps)
    table = Table.under(mesh) if shading == "table" else None
    return [
        _render(mesh, camera, placed, size, supersample, background, shading, table)
        for camera, placed in zip(cameras, views, strict=True)
    ]


def ring_cameras(count: int, elevation_rad: float = FRONT_ELEVATION_RAD) -> list[Camera]:
    """``count`` cameras evenly round the object, the front view first, then towards +X."""
    return [orbit_camera(2 * math.pi * k / count, elevation_rad) for k in range(count)]


def preview_sheet(
    subject: SubjectImage, mesh: Mesh, path: Path | None = None, *, size: int = 512, background: Color = PAPER
) -> np.ndarray:
    """The subject's picture, twice as large, and two rows of four views round the mesh: uint8 [2 size, 6 size, 3].

    With ``path`` the sheet is also written there as PNG, whole or not at all.
    """
    picture = Image.fromarray(_to_bytes(subject.over(background)))
    picture = np.asarray(picture.resize((2 * size, 2 * size), Image.Resampling.LANCZOS))
    views = [
        _to_bytes(rgb) for rgb, _ in render_views(mesh, ring_cameras(8), size, background, shading="table")
    ]
    rows = np.concatenate([np.concatenate(views[:4], 1), np.concatenate(views[4:], 1)], 0)
    sheet = np.concatenate([picture, rows], 1)
    if path is not None:
        buffer = io.BytesIO()
        Image.fromarray(sheet).save(buffer, "PNG")
        with explain_os_errors(path, "writing the preview"):
            write_bytes(path, buffer.getvalue())
    return sheet


def write_turntable(
    mesh: Mesh,
    path: Path,
    *,
    frames: int = 36,
    size: int = 320,
    seconds: float = 3.6,
    max_bytes: int = 3_000_000,
    background: Color = PAPER,
) -> None:
    """A full turn that loops, as .gif or .mp4; a GIF larger than ``max_bytes`` is made again with smaller pictures.

    Raises:
        BadInput: another file type, or no frames.
        SlipcastError: MP4 without imageio-ffmpeg, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".gif", ".mp4") or frames < 1:
        raise BadInput(f"a turntable is a .gif or .mp4 with at least 1 frame, not {path.name} with {frames}")
    cameras = ring_cameras(frames)
    if path.suffix == ".mp4":
        pictures = [
            _to_bytes(rgb)
            for rgb, _ in render_views(mesh, cameras, size + size % 2, background, shading="table")
        ]
        data = _mp4(pictures, frames / seconds)
    else:
        data = b""
        for factor in _SEARCHED_SIZES:
            views = render_views(mesh, cameras, int(size * factor), background, shading="table")
            data = _gif([_to_bytes(rgb) for rgb, _ in views], seconds)
            if len(data) <= max_bytes:
                break
    with explain_os_errors(path, "writing the turntable"):
        write_bytes(path, data)


def _place(mesh: Mesh, camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray]:
    pixels, depth = project(camera, torch.as_tensor(mesh.vertices), size)
    return pixels.numpy().astype(np.float64), depth.numpy().astype(np.float64)


def _render(
    mesh: Mesh,
    camera: Camera,
    placed: tuple[np.ndarray, np.ndarray],
    size: int,
    supersample: int,
    background: Color,
    shading: str,
    table: Table | None,
) -> tuple[np.ndarray, np.ndarray]:
    fine = size * supersample
    face, weights = rasterize(placed[0], placed[1], mesh.faces, fine, fine)
    covered = face != EMPTY
    uv = None if mesh.uv is None else interpolate(mesh.uv, mesh.faces, face, weights)
    if uv is None or mesh.texture is None:
        color = np.broadcast_to(np.asarray(CLAY, np.float32), (int(covered.sum()), 3))
    else:
        color = sample_texture(mesh.texture, uv)
    if shading != "none":
        normals = interpolate(mesh.normals, mesh.faces, face, weights)
        if shading == "soft":
            color = color * _soft_light(normals, camera)[:, None]
        else:
            points = interpolate(mesh.vertices, mesh.faces, face, weights)
            orm = None if uv is None or mesh.orm is None else sample_texture(mesh.orm, uv)
            color = lit(color, normals, points, orm, camera)
    picture = np.empty((fine, fine, 3), np.float32)
    picture[:] = background
    if table is not None:  # so soft that it needs no finer pixels
        picture[:] = table.seen(camera, size, background).repeat(supersample, 0).repeat(supersample, 1)
    picture[covered] = color.clip(0, 1)
    grid = (size, supersample, size, supersample)
    return picture.reshape(*grid, 3).mean(axis=(1, 3)), covered.reshape(grid).mean(
        axis=(1, 3), dtype=np.float32
    )


def _soft_light(normals: np.ndarray, camera: Camera) -> np.ndarray:
    """How much light a surface returns, as a factor on sRGB values: normals [N, 3] (any length) -> [N].

    A wrapped Lambert term: it falls to nothing behind the object, not at its side, like a large soft box.
    """
    light = camera.cam_to_world[:3, :3].numpy().astype(np.float32) @ KEY
    length = np.linalg.norm(normals, axis=1).clip(1e-9)
    wrapped = 0.5 + 0.5 * (normals @ light) / length
    # Light is linear, the colours are not: a linear factor f is f^(1/2.2) on sRGB values.
    return (_AMBIENT + (1.08 - _AMBIENT) * wrapped) ** (1 / 2.2)


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    return (picture * 255 + 0.5).clip(0, 255).astype(np.uint8)


def _gif(pictures: list[np.ndarray], seconds: float) -> bytes:
    """One palette for all frames, found on a strip of some of them: per-frame palettes flicker and take more room."""
    strip = Image.fromarray(np.concatenate(pictures[:: max(1, len(pictures) // 6)], 1))
    palette = strip.quantize(255, method=Image.Quantize.MEDIANCUT)
    frames = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    buffer = io.BytesIO()
    # Whole hundredths, the unit of the format.
    duration = max(20, round(100 * seconds / len(pictures)) * 10)
    frames[0].save(
        buffer, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0, optimize=False
    )
    return buffer.getvalue()


def _mp4(pictures: list[np.ndarray], fps: float) -> bytes:
    try:
        return iio.imwrite("<bytes>", np.stack(pictures), extension=".mp4", plugin="FFMPEG", fps=fps)
    except ImportError as error:
        raise SlipcastError(
            "writing MP4 needs imageio-ffmpeg; pip install imageio-ffmpeg, or ask for .gif"
        ) from error
