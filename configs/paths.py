"""Paths as people write them: ``~`` is their home folder, and what no disk can hold is said before it is tried."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import BadInput

_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes, on every file system in common use


def user_path(text: str | os.PathLike[str], option: str) -> Path:
    """The path that an option gives.

    Raises: BadInput for a name that is too long or no text, or the home folder of nobody; ``option`` is named.
    """
    shown = os.fspath(text) if len(os.fspath(text)) <= 80 else f"{os.fspath(text)[:80]}..."
    try:
        path = Path(text).expanduser()
        encoded = os.fsencode(path)
    except RuntimeError as error:
        user = Path(text).parts[0].removeprefix("~")
        raise BadInput(f"{option} names {shown}, but there is no user {user!r} here") from error
    except UnicodeEncodeError as error:
        raise BadInput(f"{option} names {shown!r}, which holds characters that are no text") from error
    if b"\0" in encoded:
        raise BadInput(f"{option} names {shown!r}, which holds a null character")
    longest = max((len(name) for name in encoded.split(os.fsencode(os.sep))), default=0)
    if longest > _LONGEST_NAME or len(encoded) > _LONGEST_PATH:
        raise BadInput(
            f"{option} names {shown}, a path of {len(encoded)} bytes with a name of {longest}; "
            f"a disk holds names of {_LONGEST_NAME} and paths of {_LONGEST_PATH} at most"
        )
    return path
