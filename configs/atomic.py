"""Files that are either whole or absent, and fingerprints of what they hold."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import BadInput, SlipcastError, in_one_line

_ADVICE = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room in your quota",
    errno.EACCES: "make it writable or choose another folder with --out",
    errno.EPERM: "make it writable or choose another folder with --out",
    errno.EROFS: "choose another folder with --out",
}
_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")  # the name that ``write_bytes`` gives; the number is its process


@contextlib.contextmanager
def explain_os_errors(
    path: Path, doing: str, *, then: str = ", then the same command goes on"
) -> Iterator[None]:
    """Turn an ``OSError`` (disk full, no permission, read-only ...) into one sentence with the path.

    ``then`` ends it; empty where another command has to follow.

    Raises:
        BadInput: a name is longer than the file system takes.
        SlipcastError: anything else.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        reason = error.strerror or str(error) or type(error).__name__
        if error.errno == errno.ENAMETOOLONG:
            raise BadInput(f"{doing} failed at {where}: {reason}; give a shorter one") from error
        advice = _ADVICE.get(error.errno or 0, "put that right")
        raise SlipcastError(f"{doing} failed at {where}: {reason}; {advice}{then}") from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, *pieces: bytes | memoryview) -> None:
    """Write a file through a temporary one beside it, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write JSON that a person can read, atomically. NaN and infinity are refused: they are no JSON."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, what: str, *, allow_nan: bool = False) -> Any:
    """The content of a JSON file.

    Args:
        what: what the file should be, for the sentence, such as "the card of a domain".
        allow_nan: take NaN and infinity, which are no JSON, but which other libraries write.
    Raises:
        BadInput: missing, unreadable, not UTF-8, no JSON, nested too deep, or with numbers or text that are none.
    """

    def number(text: str) -> float:
        if not allow_nan and not math.isfinite(float(text)):
            raise ValueError(f"{text} is no number")
        return float(text)

    try:
        text = path.read_bytes().decode("utf-8")
        content = json.loads(text, parse_float=number, parse_constant=number)
        if "\\ud" in text.lower():  # may be half of a character, which no file and no terminal takes
            json.dumps(content, ensure_ascii=False).encode("utf-8")
    except (OSError, ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else in_one_line(error, 160)
        reason = (isinstance(error, OSError) and error.strerror) or reason
        raise BadInput(f"{path} cannot be read as {what} ({reason})") from error
    return content


def read_json_object(path: Path, what: str, *, allow_nan: bool = False) -> dict[str, Any]:
    """``read_json`` for a file that holds one object, ``{...}``; BadInput for anything else in it."""
    content = read_json(path, what, allow_nan=allow_nan)
    if not isinstance(content, dict):
        raise BadInput(f"{path} cannot be read as {what} (it holds no object but a {type(content).__name__})")
    return content


def write_safetensors(path: Path, arrays: Mapping[str, Any], notes: Mapping[str, str] | None = None) -> None:
    """Write tensors, or numpy arrays, atomically; equal content gives equal bytes.

    safetensors orders a file's notes differently in every process; here the header is sorted.
    """
    numpy = all(type(array).__module__ == "numpy" for array in arrays.values())
    if numpy:
        from safetensors.numpy import save

        # Its bytes are those of the memory, in whatever order: a transposed view would come back as something else.
        arrays = {name: array if array.flags.c_contiguous else array.copy() for name, array in arrays.items()}
    else:
        from safetensors.torch import save

        arrays = {name: array.detach().cpu().contiguous() for name, array in arrays.items()}
    data = save(dict(arrays), dict(notes or {}) or None)
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # numbers stay aligned, as the format asks
    write_bytes(path, len(header).to_bytes(8, "little"), header, memoryview(data)[8 + length :])


def remove_stale_temporaries(folder: Path) -> None:
    """Remove, below a folder, what ``write_bytes`` left there in processes that were killed; never a living one's."""
    import psutil

    for path in folder.rglob(".*.tmp"):
        process = _TEMPORARY.fullmatch(path.name)
        if process and not psutil.pid_exists(int(process[1])):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries (new names, renames) survive a power cut, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_folder(folder: Path, *, leave_out: frozenset[str] = frozenset()) -> dict[str, str]:
    """{relative path with forward slashes: SHA-256} of every file below a folder, sorted by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    named = ((path.relative_to(folder).as_posix(), path) for path in files)
    return {name: sha256_of_file(path) for name, path in named if name not in leave_out}


def fingerprint(content: Any) -> str:
    """SHA-256 of JSON-able content; the order of a dictionary's keys does not matter."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
