"""Writes the pages. They are beside the stages' folders, belong to no stage, and are in no key and no record."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...configs.atomic import write_bytes, write_text
from ...configs.errors import BadInput, SlipcastError
from ...configs.paths import given_path
from ..run.commands import command
from ..run.manifest import MANIFEST
from .document import generator
from .index_page import index_page
from .pictures import THUMBNAIL, thumbnail
from .reading import RunTold, read_told
from .run_page import run_page

REPORT = "report.html"
INDEX = "index.html"


def write_report(run: Path) -> Path:
    """Write report.html, and thumbnail.jpg for the index, into a run's folder; returns the page.

    Raises:
        BadInput: the folder is no run's.
        OSError: the run cannot be read, or its folder not written.
    """
    told = read_told(run)
    small = thumbnail(told.file("image", "image.png"), told.file("export", "preview.png"))
    if small is not None and not _holds(run / THUMBNAIL, small):
        write_bytes(run / THUMBNAIL, small)
    # Last: a page that is newer than the manifest says that all of this was done.
    write_text(run / REPORT, run_page(told))
    return run / REPORT


def refresh_report(run: Path, notice: Callable[[str], None]) -> None:
    """``write_report`` at the end of another command, which does not fail for it: an error is one notice."""
    try:
        write_report(run)
    except (OSError, SlipcastError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        notice(f"{run / REPORT} was not written ({reason}); `{command('report', run)}` tries again")


@contextlib.contextmanager
def reported(run: Path, notice: Callable[[str], None]) -> Iterator[None]:
    """Write the page of a run when its work is over, whether it is finished, failed or was stopped."""
    try:
        yield
    finally:
        if (run / MANIFEST).exists():  # otherwise it ended before it had begun, and there is nothing to tell
            refresh_report(run, notice)


def write_index(
    folder: Path,
    notice: Callable[[str], None] = lambda sentence: None,
    *,
    runs: Sequence[Path] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Path:
    """Write index.html into a folder of runs, and the report of each run that has none or an older one.

    A run that cannot be read is told in a notice and left out.

    Args:
        runs: of which to tell, wherever they lie; all in the folder by default.
        advance: called after each run.
    Raises:
        BadInput: the folder holds no runs.
        OSError: the index cannot be written.
    """
    found: list[RunTold] = []
    for place in runs_in(folder) if runs is None else runs:
        try:
            if not is_fresh(place):
                write_report(place)
            found.append(read_told(place))
        except (OSError, BadInput) as error:
            notice(f"{place.name} is left out: {error}")
        advance()
    write_text(folder / INDEX, index_page(folder, found))
    return folder / INDEX


def runs_in(folder: Path) -> list[Path]:
    """The folders of runs in a folder, sorted by name.

    Raises:
        BadInput: there are none.
    """
    folder = given_path(folder, "RUN")
    found = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    if not found:
        raise BadInput(
            f"{folder} is neither a run nor a folder of runs (folders with a {MANIFEST}); give one, such as runs"
        )
    return found


def is_fresh(run: Path) -> bool:
    """Whether a run's page was written by this version of slipcast after everything that it tells of."""
    page = run / REPORT
    if not page.is_file():
        return False
    told_of = [run / MANIFEST, run / "exports"]
    if any(path.exists() and path.stat().st_mtime > page.stat().st_mtime for path in told_of):
        return False
    with open(page, encoding="utf-8", errors="replace") as file:
        return f'content="{generator()}"' in file.read(2000)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data
