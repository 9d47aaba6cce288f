"""Commands that did a part of what was asked for: the results are printed, and the exit code tells that some lack."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer


def partly_failed(sentence: str) -> NoReturn:
    """End with exit code 1 and one sentence on stderr, after the results have been printed on stdout."""
    print(f"slipcast: {sentence}", file=sys.stderr)
    raise typer.Exit(1)
