"""A folder of pictures as a set to learn from: what is in it, what is left out and why, and what is held out.

A picture is known by its content (sha256 of its upright pixels), never by its name: files may be renamed, moved and
sorted otherwise, and everything that follows stays the same, to the bit.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ...configs.atomic import fingerprint
from ...configs.errors import BadInput
from ...configs.paths import PICTURE_ENDINGS, given_path
from .files import LARGEST, as_rgb, read_image
from .likeness import Likeness, likeness, near_groups

FEWEST, FEW = 4, 20
_SIDE = 32  # pixels below which a picture shows nothing
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Picture:
    """One picture of a set.

    Attributes:
        content: sha256 of its upright pixels.
        size: (height, width) in pixels.
        transparent: whether a ground shows through anywhere.
        path: one of the files that hold it; it is read from there, and learning looks at nothing else of it.
    """

    content: str
    size: tuple[int, int]
    transparent: bool
    path: Path


@dataclass(frozen=True)
class Collection:
    """The pictures of a folder, in the order of their contents.

    Attributes:
        left_out: {why: files} that are not learned from.
        noted: {what: files} that are, and that somebody should know of.
        near: groups of contents that are nearly the same picture; held out together, or not at all.
    """

    folder: Path
    pictures: tuple[Picture, ...]
    left_out: dict[str, list[str]] = field(default_factory=dict)
    noted: dict[str, list[str]] = field(default_factory=dict)
    near: tuple[tuple[str, ...], ...] = ()

    @property
    def identity(self) -> str:
        """Of what the pictures show, whatever they are called and wherever they lie."""
        return fingerprint([one.content for one in self.pictures])

    def split(self, share: float = 0.1, most: int = 512) -> tuple[list[Picture], list[Picture]]:
        """(to learn from, held out): the pictures of the lowest contents are held out, ``share`` of all.

        A sha256 is as good as a die, and the same picture always throws the same number: a set that grows keeps nearly
        all of what it held out. Near copies go where the lowest of them goes, or holding out would tell nothing.
        """
        leader = {content: min(group) for group in self.near for content in group}

        def lead(one: Picture) -> str:
            return leader.get(one.content, one.content)

        order = sorted(self.pictures, key=lambda one: (lead(one), one.content))
        cut = whole = min(max(1, round(share * len(order))), most)
        while whole < len(order) and lead(order[whole]) == lead(order[whole - 1]):
            whole += 1
        # Where nearly all are near copies of each other: better a leak than nothing to learn from.
        cut = whole if whole <= len(order) // 2 else cut
        return order[cut:], order[:cut]

    def told(self) -> dict[str, object]:
        """Counts and names for a report: JSON-able."""
        return {
            "folder": str(self.folder),
            "pictures": len(self.pictures),
            "transparent": sum(one.transparent for one in self.pictures),
            "left_out": self.left_out,
            "noted": self.noted,
        }

    def sentences(self) -> list[str]:
        """What is odd about the folder, a sentence each, with the first names."""
        odd = [("left out", self.left_out), ("used, but", self.noted)]
        return [
            f"{word} {len(names)}: {why} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for word, kinds in odd
            for why, names in kinds.items()
        ]


def read_collection(
    folder: Path, *, size: int = 0, advance: Callable[[int], Advance] = lambda total: lambda n: None
) -> Collection:
    """Read every picture in a folder and the folders in it once.

    Args:
        size: pixels along each side of what is learned; smaller pictures are noted.
        advance: told the number of files, returns what is called after each.
    Raises: BadInput for no folder, or fewer than ``FEWEST`` different pictures in it.
    """
    given_path(folder, "the folder of pictures")
    if not folder.is_dir():
        there = "is a file" if folder.exists() else "is not there"
        raise BadInput(f"{folder} {there}; give a folder with PNG, JPEG or WebP files")
    left_out: dict[str, list[str]] = {}
    noted: dict[str, list[str]] = {}

    def put(where: dict[str, list[str]], why: str, path: Path) -> None:
        where.setdefault(why, []).append(path.relative_to(folder).as_posix())

    files = []
    for path, loop in _walk(folder):
        if loop:
            put(left_out, "a link to a folder that was looked into already", path)
        elif path.suffix.lower() not in PICTURE_ENDINGS:
            put(left_out, "no picture by its name", path)
        else:
            files.append(path)
    found: dict[str, Picture] = {}
    alike: dict[str, Likeness] = {}
    done = advance(len(files))
    for path in files:
        try:
            why, frames = _header(path)
            picture = read_image(path) if not why else None
        except BadInput:
            picture, why, frames = None, "damaged, or no picture inside", 1
        done(1)
        if picture is None:
            put(left_out, why, path)
            continue
        content = hashlib.sha256(f"{picture.mode} {picture.size}".encode() + picture.tobytes()).hexdigest()
        if content in found:
            put(left_out, "the same as another, pixel by pixel", path)
            continue
        if min(picture.size) < _SIDE:
            put(left_out, f"smaller than {_SIDE} pixels", path)
            continue
        if frames > 1:
            put(noted, "animated: its first frame is taken", path)
        if min(picture.size) < size:
            put(noted, f"smaller than {size} pixels, and enlarged", path)
        found[content] = Picture(content, (picture.height, picture.width), picture.mode == "RGBA", path)
        alike[content] = likeness(as_rgb(picture))
    contents = sorted(found)
    groups = [[contents[i] for i in group] for group in near_groups([alike[one] for one in contents])]
    for group in groups:
        for content in group[1:]:
            put(noted, "nearly the same as another", found[content].path)
    if len(found) < FEWEST:
        rest = Counter({why: len(names) for why, names in left_out.items()})
        said = "; left out were " + ", ".join(f"{n} ({why})" for why, n in rest.items()) if rest else ""
        raise BadInput(
            f"{folder} holds {_count(len(found))} to learn from, and {FEWEST} are the least, {FEW} better{said}"
        )
    return Collection(
        folder, tuple(found[one] for one in contents), left_out, noted, tuple(map(tuple, groups))
    )


def _count(number: int) -> str:
    return "no picture" if number == 0 else f"{number} different picture{'s' if number > 1 else ''}"


def _walk(folder: Path) -> Iterator[tuple[Path, bool]]:
    """(file, False), or (link to a folder that was seen, True), in the order of names; hidden names are passed over."""
    seen = {_place(folder)}
    for root, folders, names in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(folders):
            path = Path(root, name)
            if name.startswith("."):
                continue
            if _place(path) in seen:
                yield path, True
                continue
            seen.add(_place(path))
            kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(root, name), False


def _place(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _header(path: Path) -> tuple[str, int]:
    """(why it is not read at all, or nothing; how many frames it has), from the first bytes of a file."""
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > LARGEST:
                return f"more than {LARGEST // 10**6} million pixels: scale it down", 1
            return "", getattr(opened, "n_frames", 1)
    except Image.DecompressionBombError:
        return f"more than {LARGEST // 10**6} million pixels: scale it down", 1
    except (
        Exception
    ):  # whatever a damaged header makes a format's reader raise; the whole read says it better
        return "", 1
