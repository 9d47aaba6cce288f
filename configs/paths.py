"""Paths that people give: ``~`` is their home, and what no disk can hold is said before anything is tried."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .errors import BadInput

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2")
"""Of the files in a folder that count as pictures."""


def given_path(text: str | os.PathLike[str], what: str = "a path") -> Path:
    """The path that somebody gave, with ``~`` expanded; whether something is there is for the caller to see.

    Args:
        what: what it is for, such as "--base" or "the domain"; it begins the sentence.
    Raises:
        BadInput: no path of this system: a name that is too long, a NUL, characters that are no text, the home of a
            user that there is not, a folder that may not be entered.
    """
    path = Path(text)
    try:
        path = path.expanduser()
        there = Path(path.anchor)
        for part in path.parts[len(there.parts) :]:
            try:
                (there / part).lstat()
            except FileNotFoundError:
                continue  # later names are tried in the last folder that is there: they may be too long all the same
            there /= part
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # the whole may be too long as well
    except NotADirectoryError:  # a file stands in the way: the caller finds nothing there
        return path
    except (OSError, RuntimeError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error).rstrip(".")
        raise BadInput(f"{what} cannot be {shortened(os.fspath(text))} ({reason}); give another") from error
    return path


def given_folder(text: str | os.PathLike[str], what: str) -> Path:
    """``given_path`` of a folder, which need not exist yet; BadInput where a file has its name."""
    path = given_path(text, what)
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise BadInput(f"{part} is a file, not a folder; use another {what}")
    return path


def shortened(text: str | os.PathLike[str]) -> str:
    """The text in quotes, its middle left out where it is long."""
    text = os.fspath(text)
    return repr(text if len(text) <= 80 else f"{text[:50]}...{text[-20:]}")
