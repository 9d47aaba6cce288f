"""The secret that a client shows: a file that its owner alone can read, so that other users of a machine cannot ask."""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...configs.atomic import explain_os_errors
from ...configs.errors import BadInput

_TOKEN = re.compile(rb"[\w-]{43}|")
"""What ``secrets.token_urlsafe(32)`` looks like, or nothing yet."""


@contextlib.contextmanager
def new_token(path: Path) -> Iterator[str]:
    """A new token, in a file of mode 600 for as long as the block lasts.

    Raises:
        BadInput: a folder is there, or a file that is no token.
        SlipcastError: the file cannot be written, or read.
    """
    if path.is_dir():
        raise BadInput(f"{path} is a folder; --token-file expects the path of a file")
    with explain_os_errors(path, "reading the token", then=""):
        if path.exists() and not _TOKEN.fullmatch(path.read_bytes()[:200].strip()):
            raise BadInput(f"--token-file={path} is there already and no token; give another name")
    token = secrets.token_urlsafe(32)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explain_os_errors(path, "writing the token", then=""):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        # Exclusively and with its mode from the beginning: there is no moment at which others could open it.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(token + "\n")
        os.replace(temporary, path)
    try:
        yield token
    finally:
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8").strip() == token:  # or it is another server's by now
                path.unlink()


def is_token(token: str, shown: Any) -> bool:
    """Whether a client showed it; takes as long for a near miss as for a far one."""
    return isinstance(shown, str) and hmac.compare_digest(token.encode(), shown.encode("utf-8", "replace"))
