"""Commands that sentences tell people to run, as a shell takes them."""

from __future__ import annotations

import shlex
from pathlib import Path


def command(*words: str | Path) -> str:
    """``slipcast`` and its arguments, quoted where a shell needs it: ``slipcast make --resume 'q q'``.

    A path that begins with a dash is written ``./-x``, so that it is not read as an option.
    """
    return shlex.join(["slipcast", *map(_word, words)])


def _word(word: str | Path) -> str:
    text = str(word)
    return f"./{text}" if isinstance(word, Path) and text.startswith("-") else text
