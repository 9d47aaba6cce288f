"""Folders of weights as a few files of limited size, for machines that give back no more.

A parcel is a tar, its bytes at even places before those at odd ones (the exponents of half-precision numbers compress,
their mantissas hardly do), then zlib, then cut: NAME-0.part, NAME-1.part ... Half precision shrinks by an eighth.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from ..configs.atomic import explain_os_errors, write_bytes
from ..configs.errors import BadInput

PART_BYTES = 16_000_000


def pack(root: Path, places: Sequence[str], out: Path, name: str) -> list[Path]:
    """Write the parcel of some folders and files of ``root`` (those that exist) into ``out``; its parts, in order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for place in places:
            for path in _files(root / place):
                entry = tarfile.TarInfo(
                    path.relative_to(root).as_posix()
                )  # no owner, no time: equal bytes again
                entry.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(entry, file)
    whole = stream.getvalue()
    squeezed = zlib.compress(whole[::2] + whole[1::2], 1)
    files = []
    with explain_os_errors(out, "packing the weights"):
        out.mkdir(parents=True, exist_ok=True)
        for first in range(0, len(squeezed), PART_BYTES):
            files.append(out / f"{name}-{len(files)}.part")
            write_bytes(files[-1], squeezed[first : first + PART_BYTES])
    return files


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())


def unpack(parts: Path, out: Path) -> None:
    """Lay the content of every parcel that lies in a folder into ``out``.

    Raises: BadInput when there is none, or a part is missing or damaged.
    """
    found: dict[str, dict[int, Path]] = {}
    for path in parts.glob("*.part"):
        if match := re.fullmatch(r"(.+)-(\d+)\.part", path.name):
            found.setdefault(match[1], {})[int(match[2])] = path
    if not found:
        raise BadInput(
            f"{parts} holds no parcel; give the folder with the .part files that an earlier run wrote"
        )
    for name, pieces in found.items():
        try:
            squeezed = b"".join(pieces[index].read_bytes() for index in range(max(pieces) + 1))
            planes = zlib.decompress(squeezed)
            whole, half = bytearray(len(planes)), (len(planes) + 1) // 2
            whole[::2], whole[1::2] = planes[:half], planes[half:]
            with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
                archive.extractall(out, filter="data")
        except (KeyError, zlib.error, tarfile.TarError) as error:
            raise BadInput(
                f"a part of {name} in {parts} is missing or damaged; copy them all again"
            ) from error
