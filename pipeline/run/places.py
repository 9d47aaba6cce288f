"""Paths that people name: refused in one sentence where no file could ever lie there."""

from __future__ import annotations

from pathlib import Path

from ...configs.errors import BadInput


def check_path(path: Path, what: str) -> None:
    """Raise ``BadInput`` for a path that the system does not take: too long a name, a folder that nobody may enter.

    A path where nothing lies yet is well; ``what`` is the option or argument that it was given by.
    """
    there = Path(path.anchor)
    for part in path.parts[len(there.parts) :]:
        try:
            (there / part).stat()
        except FileNotFoundError:
            continue  # the parts after it are looked for in the last folder that is there: their names may be too long
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadInput(f"{what} cannot be {path} ({reason}); choose another") from error
        there /= part


def check_folder(folder: Path, what: str) -> None:
    """Raise ``BadInput`` for a path that is no folder and can become none."""
    check_path(folder, what)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file, not a folder; use another {what}")
