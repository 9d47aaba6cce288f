"""How a set of pictures is read, written beside it: ``python -m slipcast.pipeline.studio.reading SET``.

A process of its own: it needs torch, which the server starts without, and reads as ``slipcast domain train`` reads.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ...configs.atomic import write_json
from ...configs.errors import BadInput
from ...systems.images.collection import FEW, Collection, read_collection

_SQUARE = 1.1  # a picture whose sides differ less is square to the eye


def read_set(folder: Path) -> None:
    """Write ``reading.json``: what is there to learn from, what is left out and why, sizes and shapes."""
    files = sorted(path.name for path in (folder / "pictures").glob("*") if not path.name.startswith("."))
    try:
        told = _told(read_collection(folder / "pictures"))
    except BadInput as error:
        told = {"error": str(error).removeprefix(f"{folder / 'pictures'} ")}
    write_json(folder / "reading.json", {"files": files} | told)


def _told(found: Collection) -> dict[str, Any]:
    sides = [one.size for one in found.pictures]
    shapes = Counter(_shape(height, width) for height, width in sides)
    return {
        "count": len(found.pictures),
        "few": len(found.pictures) < FEW,
        "transparent": sum(one.transparent for one in found.pictures),
        "held_out": len(found.split()[1]),
        "shapes": dict(shapes.most_common()),
        "smallest": min(min(one) for one in sides),
        "largest": max(max(one) for one in sides),
        "left_out": found.left_out,
        "noted": found.noted,
    }


def _shape(height: int, width: int) -> str:
    if max(height, width) < _SQUARE * min(height, width):
        return "square"
    return "wide" if width > height else "tall"


if __name__ == "__main__":
    read_set(Path(sys.argv[1]))
