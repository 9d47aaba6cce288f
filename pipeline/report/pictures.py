"""A run's pictures as a page holds them: inside it, and no larger than they are shown."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

_AS_IT_IS = 150_000  # bytes; smaller files go into the page unchanged
_LARGEST_ANIMATION = 6_000_000
_LARGEST_PIXELS = 2100 * 2100  # of a texture; decoding a larger one takes longer than a page may
_PAPER = (237, 237, 235)  # as behind the previews
THUMBNAIL = "thumbnail.jpg"
THUMBNAIL_SIZE = (512, 256)


class Picture(NamedTuple):
    """A picture as a data: address, with its size in pixels, which keeps a page from jumping while it loads."""

    source: str
    width: int
    height: int


def picture(path: Path | None, *, longest: int = 1536) -> Picture | None:
    """A picture file, shrunk if it is large; None if there is none, or none that can be read."""
    with _opened(path) as image:
        if image is None or path is None:
            return None
        if path.stat().st_size <= _AS_IT_IS and image.format in ("PNG", "JPEG", "WEBP"):
            kind = f"image/{image.format.lower()}"
            return Picture(_address(kind, path.read_bytes()), image.width, image.height)
        return _encoded(image, longest)


def animation(path: Path | None) -> Picture | None:
    """A GIF as it is; None if there is none, or a very large one."""
    with _opened(path, decode=False) as image:
        if image is None or path is None or image.format != "GIF" or path.stat().st_size > _LARGEST_ANIMATION:
            return None
        return Picture(_address("image/gif", path.read_bytes()), image.width, image.height)


def map_picture(path: Path | None) -> Picture | None:
    """A texture, small."""
    with _opened(path, decode=False) as image:
        if image is None or image.width * image.height > _LARGEST_PIXELS:
            return None
        try:
            return _encoded(image, 384)
        except (OSError, ValueError, SyntaxError):
            return None


def candidates(path: Path | None, count: int) -> list[Picture]:
    """The pictures of a row of ``count`` squares, each for itself; none if it is no such row."""
    with _opened(path) as image:
        if image is None or count < 1 or image.width != count * image.height:
            return []
        side = image.height
        return [_encoded(image.crop((i * side, 0, (i + 1) * side, side)), 320) for i in range(count)]


def front_view(path: Path | None) -> Image.Image | None:
    """The mesh from the front, out of a preview sheet: the picture twice as large, then two rows of four views."""
    with _opened(path) as image:
        if image is None:
            return None
        side = image.height // 2
        return image.convert("RGB").crop((2 * side, 0, 3 * side, side)) if image.width == 6 * side else None


def thumbnail(subject: Path | None, preview: Path | None) -> bytes | None:
    """The picture and the mesh side by side, 512 x 256 JPEG; None while there is neither."""
    with _opened(subject) as image:
        parts = [None if image is None else _on_paper(image), front_view(preview)]
    if not any(parts):
        return None
    sheet = Image.new("RGB", THUMBNAIL_SIZE, _PAPER)
    there = [part for part in parts if part]
    for number, part in enumerate(there):
        left = 256 * number + (128 if len(there) == 1 else 0)
        sheet.paste(part.resize((256, 256), Image.Resampling.LANCZOS), (left, 0))
    return _jpeg(sheet)


def as_picture(image: Image.Image | None) -> Picture | None:
    """A decoded picture, as a page holds it."""
    return None if image is None else _encoded(image, 1536)


class _opened:
    """``with _opened(path) as image``: the picture of a file, or None if it is missing or damaged."""

    def __init__(self, path: Path | None, *, decode: bool = True) -> None:
        self._image: Image.Image | None = None
        if path is not None:
            try:
                self._image = Image.open(path)
                if decode:
                    self._image.load()
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # of Pillow's readers
                self._close()

    def _close(self) -> None:
        if self._image is not None:
            self._image.close()
        self._image = None

    def __enter__(self) -> Image.Image | None:
        return self._image

    def __exit__(self, *_: object) -> None:
        self._close()


def _encoded(image: Image.Image, longest: int) -> Picture:
    small = image.convert("RGBA" if _has_alpha(image) else "RGB")
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    if small.mode == "RGB":
        return Picture(_address("image/jpeg", _jpeg(small)), small.width, small.height)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=85, method=2)
    return Picture(_address("image/webp", buffer.getvalue()), small.width, small.height)


def _on_paper(image: Image.Image) -> Image.Image:
    paper = Image.new("RGBA", image.size, (*_PAPER, 255))
    return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=86, optimize=True)
    return buffer.getvalue()


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
