"""Pictures that were sent to learn a domain from: a folder for each set, and how they were read.

<set>/pictures/<content>.png     the files, called after their content
<set>/small/<content>.webp       each of them small, for the page
<set>/told.json                  what their owner calls them, and what was refused and why
<set>/reading.json               how they were read (``reading``), by a process of its own that knows torch
"""

from __future__ import annotations

import io
import re
import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ...configs.atomic import explain_os_errors, read_json_object, write_bytes, write_json
from ...configs.errors import BadInput
from .desk import Desk
from .processes import living, start_noted
from .uploads import kept_upload

MOST_FILES, MOST_BYTES = 1000, 500_000_000
"""Of one upload; a set takes as many uploads as there are."""
_ID = re.compile(r"[0-9a-f]{12}")
_SMALL = 192
_adding = threading.Lock()


@dataclass(frozen=True)
class PictureSet:
    """A set of pictures.

    Attributes:
        id: in addresses.
        names: {file in ``pictures``: what its owner calls it}.
        refused: (name, why) of what was sent and cannot be used.
        reading: as ``reading`` wrote it; None while it is being read.
    """

    id: str
    folder: Path
    names: Mapping[str, str]
    refused: Sequence[tuple[str, str]]
    reading: Mapping[str, Any] | None

    @property
    def pictures(self) -> Path:
        """The folder to learn from."""
        return self.folder / "pictures"


def new_set(desk: Desk) -> str:
    """The id of a set that is empty."""
    return secrets.token_hex(6)


def add_pictures(desk: Desk, name: str, sent: Sequence[tuple[str, bytes]]) -> None:
    """Keep pictures in a set; what is none is noted with its name and why.

    Args:
        sent: (what its owner calls it, its bytes) of each.
    Raises:
        BadInput: no such set can be.
        SlipcastError: they cannot be written.
    """
    folder = _folder(desk, name)
    with _adding:
        told = _told(folder)
        for called, data in sent:
            try:
                path = kept_upload(called, data, folder / "pictures")
            except BadInput as error:
                told["refused"].append([called, str(error).removeprefix(f"the file {called}").strip()])
                continue
            if told["names"].setdefault(path.name, called) != called:
                told["refused"].append([called, f"is the same as {told['names'][path.name]}, byte by byte"])
            small = folder / "small" / f"{path.stem}.webp"
            if not small.is_file():
                _write_small(data, small)
        with explain_os_errors(folder, "noting the pictures' names"):
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "told.json", told)


def find_set(desk: Desk, name: str) -> PictureSet | None:
    """A set, being read where it is not read yet; None where there is none of this name."""
    if _ID.fullmatch(name) is None or not (folder := _folder(desk, name)).is_dir():
        return None
    told = _told(folder)
    there = sorted(path.name for path in (folder / "pictures").glob("*") if not path.name.startswith("."))
    reading = _reading(folder)
    if there and (reading is None or reading.get("files") != there):
        reading = None
        if living(folder / "reader.json") is None:
            start_noted(
                [sys.executable, "-m", f"{__package__}.reading", str(folder)],
                folder / "reader.json",
                said=folder / "reader.log",
            )
    refused = [(str(one), str(why)) for one, why in told["refused"]]
    return PictureSet(name, folder, told["names"], refused, reading)


def small_picture(desk: Desk, name: str, file: str) -> Path | None:
    """A picture of a set as it is shown; None where there is none."""
    if _ID.fullmatch(name) is None or re.fullmatch(r"[0-9a-f]{32}", file) is None:
        return None
    path = _folder(desk, name) / "small" / f"{file}.webp"
    return path if path.is_file() else None


def _folder(desk: Desk, name: str) -> Path:
    if _ID.fullmatch(name) is None:
        raise BadInput("there is no such set of pictures")
    return desk.folder / "pictures" / name


def _told(folder: Path) -> dict[str, Any]:
    try:
        return read_json_object(folder / "told.json", "the names of pictures")
    except BadInput:
        return {"names": {}, "refused": []}


def _reading(folder: Path) -> dict[str, Any] | None:
    try:
        return read_json_object(folder / "reading.json", "how pictures were read")
    except BadInput:
        return None


def _write_small(data: bytes, path: Path) -> None:
    with Image.open(io.BytesIO(data)) as picture:
        small = picture.convert(
            "RGBA" if "transparency" in picture.info or picture.mode in ("RGBA", "LA") else "RGB"
        )
        small.thumbnail((_SMALL, _SMALL))
    held = io.BytesIO()
    small.save(held, "WEBP", quality=80)
    with explain_os_errors(path, "keeping an uploaded picture"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, held.getvalue())
