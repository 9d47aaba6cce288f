"""stdout and stderr that take any text, whatever the terminal's encoding.

A path may hold letters that the encoding lacks, or bytes that are no text at all. Printing it must not end a command
whose work is done.
"""

from __future__ import annotations

import codecs
import io
import sys

_HANDLER = "slipcast.any-text"
_WIDE = ("utf-16", "utf-32", "utf_16", "utf_32")  # a byte alone is nothing in these


def make_streams_safe() -> None:
    """Let stdout and stderr print everything: what the encoding lacks as ``\\u82b1``, bytes of a path as they are."""
    codecs.register_error(_HANDLER, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed, anything where it was replaced
            stream.reconfigure(errors=_HANDLER)


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for the first character that cannot be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, after = error.object[error.start], error.start + 1
    # Python reads bytes of a path that are no text as U+DC80 to U+DCFF (PEP 383): a shell gets the same bytes back.
    if "\udc80" <= character <= "\udcff" and not error.encoding.startswith(_WIDE):
        return bytes([ord(character) - 0xDC00]), after
    return character.encode("ascii", "backslashreplace").decode(), after
