"""Paths that people give."""

from __future__ import annotations

import errno
from pathlib import Path

from .errors import BadInput


def given_path(text: str | Path) -> Path:
    """The path meant, with ``~`` expanded; it need not exist, but the system can be asked about it.

    Raises:
        BadInput: a home of nobody (``~nobody/x``), a name longer than the system takes, or a NUL in it.
    """
    try:
        path = Path(text).expanduser()
        path.stat()
    except RuntimeError:
        raise BadInput(
            f"there is no user of whom {shortened(text)} could be the home; write the whole path"
        ) from None
    except ValueError:
        raise BadInput(f"the path {shortened(text)} holds a NUL character; take it out") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise BadInput(
                f"the path {shortened(text)} is longer than this system takes (mostly 255 bytes a name); "
                "use a shorter one"
            ) from None
    return path


def shortened(text: str | Path) -> str:
    """The text in quotes, its middle left out where it is long."""
    text = str(text)
    return repr(text if len(text) <= 80 else f"{text[:50]}...{text[-20:]}")
