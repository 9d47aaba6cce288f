"""Files of ``slipcast image``: PNGs that remember how they were made, a contact sheet, and names that lose nothing."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...configs.atomic import write_bytes


def png(picture: np.ndarray, told: dict[str, Any] | None = None) -> bytes:
    """A PNG of a picture [H, W, 3] uint8; its text chunk ``slipcast`` holds what is told as JSON."""
    note = PngInfo()
    if told is not None:
        note.add_text("slipcast", json.dumps(told, allow_nan=False))
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="png", pnginfo=note)
    return file.getvalue()


def write_new(path: Path, data: bytes) -> Path:
    """Write a file that is whole or absent, and never over another one.

    Returns: where it lies. A file of the same bytes is the same file; where another one has the name already, a number
        is added: ``cfg-0007.png``, ``cfg-0007-2.png``, ...
    """
    for number in itertools.count(1):
        place = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        if not os.path.lexists(place):
            write_bytes(place, data)
            return place
        if place.is_file() and place.stat().st_size == len(data) and place.read_bytes() == data:
            return place
    raise AssertionError("numbers do not end")


def contact_sheet(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """All pictures in rows, somewhat wider than high, with as few holes at the end as that allows."""
    side = len(tiles) ** 0.5
    columns = min(
        range(math.ceil(side), min(len(tiles), math.floor(2 * side)) + 1),
        key=lambda n: (-len(tiles) % n, abs(n - 1.4 * side)),
    )
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + 2) - 2, columns * (width + 2) - 2, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = (i // columns) * (height + 2), (i % columns) * (width + 2)
        sheet[y : y + height, x : x + width] = tile
    return sheet
