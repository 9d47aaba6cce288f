"""Commands that people are told to run: quoted for a shell, so that they work as they stand."""

from __future__ import annotations

import shlex


def command(*words: object) -> str:
    """``slipcast`` with its arguments, each quoted where a shell would take it apart."""
    return shlex.join(["slipcast", *map(str, words)])
