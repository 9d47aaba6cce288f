"""The catalogue file of a Blender asset library: a tree of names, each with a UUID that assets refer to.

The UUID of a path is made from the path alone, so that libraries made on different days, or merged, agree.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from pathlib import Path

from ...configs.atomic import explain_os_errors, write_text
from ...configs.errors import SlipcastError

FILE = "blender_assets.cats.txt"
ROOT = "slipcast"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://slipcast/blender/catalogues")
_HEAD = """\
# Asset catalogues of this folder; Blender reads this file and may rewrite it.
# A line is UUID:path/in/the/tree:short name. Lines made by others are kept as they are.

VERSION 1

"""


def catalogue_id(path: str) -> str:
    """The UUID of a catalogue path; the same on every machine."""
    return str(uuid.uuid5(_NAMESPACE, path))


def domain_catalogue(domain: str) -> str:
    """The catalogue path of a domain's assets: ``slipcast/<name>``, for a domain's alias or its folder."""
    name = re.split(r"[/\\]", domain.rstrip("/\\"))[-1]
    # A colon ends the path in the catalogue file; control characters would break its lines.
    name = re.sub(r"[:\x00-\x1f\x7f]+", "-", name).strip(" -.")
    return f"{ROOT}/{name or 'unnamed'}"


def write_catalogues(folder: Path, paths: Iterable[str]) -> Path:
    """Add catalogues to a library's file, whole or not at all; what is in there stays.

    Raises:
        SlipcastError: the file there is of another version, or cannot be read or written.
    """
    file = folder / FILE
    with explain_os_errors(file, "writing the catalogue file"):
        try:
            text = file.read_text(encoding="utf-8") if file.is_file() else _HEAD
        except UnicodeDecodeError as error:
            raise SlipcastError(f"{file} is not UTF-8 text; delete it and run again") from error
        version = re.search(r"^VERSION (.*)$", text, re.MULTILINE)
        if version is None or version[1].strip() != "1":
            raise SlipcastError(
                f"{file} is not a catalogue file of version 1; delete it, or choose another folder"
            )
        known = {line.partition(":")[0].strip().lower() for line in text.splitlines()}
        # The parent first: Blender shows a path without a line of its own as a nameless branch.
        wanted = sorted({ROOT, *paths})
        lines = [
            f"{catalogue_id(path)}:{path}:{path.replace('/', '-')}\n"
            for path in wanted
            if catalogue_id(path) not in known
        ]
        if lines or not file.is_file():
            write_text(file, text.rstrip("\n") + "\n" + ("\n" if text is _HEAD else "") + "".join(lines))
    return file
