"""The folder of cells: each is computed once, and kept with the key of everything that it depends on.

A cell is ``cells/TABLE/NAME.json`` in the folder of the tables, whole or absent, and perhaps files of its own in
``cells/TABLE/NAME/``, whose hashes stand in it. Its key is made of its settings, of the base, and of the keys of the
cells that it needs; a changed key, or a damaged file, and it is computed again. Files, which take gigabytes, may be
deleted: the figures stay, and the cell is computed again only where one that is not finished reads its files.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...configs.atomic import (
    explain_os_errors,
    fingerprint,
    read_json_object,
    remove_stale_temporaries,
    sha256_of_file,
    write_json,
)
from ...configs.errors import BadInput, SlipcastError
from .cells import Cell, Kept

WORK = "work"
"""The folder below a cell's in which it keeps what it needs to go on, gone when it is finished."""


class Store:
    """The folder of cells.

    Args:
        made: where a figure comes from (commit, machine), written into every cell.
    Raises: BadInput where another base than the recorded one made what is there.
    """

    def __init__(self, out: Path, base: str, identity: str, made: Mapping[str, Any]) -> None:
        self.out, self.base, self.identity, self.made = out, base, identity, dict(made)
        record = out / "tables.json"
        if record.is_file():
            told = read_json_object(record, "the record of the tables")
            if told.get("base_identity") != identity:
                raise BadInput(
                    f"the tables in {out} were begun with the base {told.get('base')!r}, whose weights are not "
                    f"those of {base!r} now; put them back, or choose another --out"
                )

    def begin(self) -> None:
        """Record the base, before the first cell."""
        record = self.out / "tables.json"
        with explain_os_errors(record, "keeping tables"):
            self.out.mkdir(parents=True, exist_ok=True)
            write_json(record, {"base": self.base, "base_identity": self.identity})

    def keys(self, cells: Sequence[Cell]) -> dict[str, str]:
        """The key of every cell, those that it needs first."""
        found: dict[str, str] = {}
        for cell in cells:
            needs = {name: found[name] for name in cell.needs}
            found[cell.name] = fingerprint([self.identity, dict(cell.depends), cell.version, needs])
        return found

    def place(self, name: str) -> Path:
        """The folder of a cell's files; its figures are beside it."""
        return self.out / "cells" / name

    def file(self, name: str) -> Path:
        """Where a cell's figures are."""
        place = self.place(name)
        return place.with_name(place.name + ".json")

    def kept(self, name: str, key: str) -> Kept | str | None:
        """A finished cell; a sentence why one that is there is not taken; None where there is none."""
        path = self.file(name)
        if not path.is_file():
            return (
                f"{name} was begun and not finished; it is computed again"
                if self.place(name).exists()
                else None
            )
        try:
            told = read_json_object(path, "a cell of the tables")
            figures, seconds, files = told["figures"], float(told["seconds"]), dict(told["files"])
            whole = not files or self.place(name).exists()
            sound = not whole or all(
                sha256_of_file(self.place(name) / file) == sha for file, sha in files.items()
            )
        except (BadInput, KeyError, TypeError, ValueError, OSError):
            whole, sound, told, figures, seconds = False, False, {}, {}, 0.0
        if not sound or not isinstance(figures, dict):
            return f"{name} is damaged, and is computed again"
        if told.get("key") != key:
            return f"{name} was made with other settings, and is computed again"
        return Kept(figures, seconds, told.get("made", {}), whole)

    def compute(self, cell: Cell, key: str) -> Kept:
        """Compute a cell and keep it: its files first, then, at once, its figures.

        Raises: SlipcastError in one sentence for a full disk, or figures that are not finite.
        """
        place, path = self.place(cell.name), self.file(cell.name)
        with explain_os_errors(
            place, "keeping a cell", then=", then the same command goes on with this cell"
        ):
            path.unlink(missing_ok=True)
            _only_work_of(place, key)
            began = time.monotonic()
            figures = cell.make(place)
            seconds = round(time.monotonic() - began, 1)
            shutil.rmtree(place / WORK, ignore_errors=True)
            files = {
                one.relative_to(place).as_posix(): sha256_of_file(one)
                for one in sorted(place.rglob("*"))
                if one.is_file()
            }
            if not files:
                shutil.rmtree(place)
            told = {"cell": cell.name, "key": key, "figures": figures, "seconds": seconds, "files": files}
            try:
                write_json(path, told | {"made": self.made})
            except ValueError as error:
                raise SlipcastError(
                    f"{cell.name} came out as no number ({error}); look at its pictures"
                ) from error
        return Kept(figures, seconds, self.made)


def _only_work_of(place: Path, key: str) -> None:
    """Empty a cell's folder, but for the work of one with the same key."""
    note = place / WORK / "key.txt"
    if not (note.is_file() and note.read_text(encoding="utf-8") == key):
        shutil.rmtree(place, ignore_errors=True)
    for one in place.iterdir() if place.is_dir() else ():
        if one.name != WORK:
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    note.parent.mkdir(parents=True, exist_ok=True)
    remove_stale_temporaries(place)
    note.write_text(key, encoding="utf-8")


def finished(
    cells: Sequence[Cell], store: Store, notice: Callable[[str], object] | None = None
) -> dict[str, Kept]:
    """Those that are there as they should be, by name; ``notice`` is told why others are not taken."""
    keys, found = store.keys(cells), dict[str, Kept]()
    for cell in cells:
        kept = store.kept(cell.name, keys[cell.name])
        if isinstance(kept, Kept):
            found[cell.name] = kept
        elif kept and notice:
            notice(kept)
    return found
