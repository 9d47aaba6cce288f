"""Maps of a surface as picture files, of the kind that ``Asset.textures`` names."""

from __future__ import annotations

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ...systems.types import Mesh

# JPEG at its full resolution of colour: halved, seams between charts would bleed, and the channels of a packed map,
# which have nothing to do with each other, would mix. WebP's lossy kind always halves it, so it is for colours alone.
_PNG: tuple[str, Mapping[str, Any]] = ("PNG", {})
_JPEG: tuple[str, Mapping[str, Any]] = ("JPEG", {"quality": 90, "subsampling": 0, "optimize": True})
_WEBP: tuple[str, Mapping[str, Any]] = ("WEBP", {"quality": 95})
_WEBP_EXACT: tuple[str, Mapping[str, Any]] = ("WEBP", {"lossless": True})
_KINDS = {
    "png": {"texture": _PNG, "orm": _PNG, "normal_map": _PNG},
    "jpeg": {"texture": _JPEG, "orm": _JPEG, "normal_map": _PNG},
    "webp": {"texture": _WEBP, "orm": _WEBP_EXACT, "normal_map": _WEBP_EXACT},
}
_ENDINGS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}


@dataclass(frozen=True)
class Picture:
    """A picture file: its content, and what it is called by its ending and on the web."""

    data: bytes
    ending: str
    mime: str


def picture(pixels: np.ndarray, role: str, textures: str) -> Picture:
    """A map as a file: pixels [H, W, 3] uint8 of the role "texture", "normal_map" or "orm".

    A normal map loses nothing whatever ``textures`` says, since shading shows its errors enlarged. The same pixels give
    the same bytes.

    Args:
        textures: "png"; "jpeg", quality 90 for base colour and orm, PNG for normals; or "webp", quality 95 for the base
            colour, without loss for the others.
    """
    kind, options = _KINDS[textures][role]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **options)
    return Picture(buffer.getvalue(), _ENDINGS[kind], f"image/{kind.lower()}")


def map_files(mesh: Mesh, textures: str) -> dict[str, Picture]:
    """The mesh's maps ("texture", "normal_map", "orm"), those that it has; none for a mesh without uv.

    Each in a thread of its own: compressing takes most of an export's time and does not hold Python's lock.
    """
    if mesh.uv is None:
        return {}
    names = ("texture", "normal_map", "orm")
    maps = {name: pixels for name in names if (pixels := getattr(mesh, name)) is not None}
    with ThreadPoolExecutor() as pool:
        files = pool.map(lambda name: picture(maps[name], name, textures), maps)
        return dict(zip(maps, files, strict=True))
