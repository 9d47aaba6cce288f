"""Paths as people give them."""

from __future__ import annotations

from pathlib import Path

from .errors import BadInput


def given_path(text: str | Path, what: str) -> Path:
    """The path that somebody gave, with ``~`` expanded; whether something is there is for the caller to see.

    Args:
        what: what it is for, such as "--base" or "the domain"; it begins the sentence.
    Raises:
        BadInput: no path of this system: too long, of a user that there is not, in a folder that may not be entered.
    """
    try:
        path = Path(text).expanduser()
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, RuntimeError, ValueError) as error:
        shown = str(text) if len(str(text)) <= 80 else f"{str(text)[:60]}... ({len(str(text))} characters)"
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise BadInput(f"{what} expects a name or a path; {shown!r} is none ({reason})") from error
    return path
