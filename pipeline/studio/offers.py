"""Downloads: the files of a run by format, and formats that are made when they are asked for.

What is not there yet is written by ``slipcast export`` in a process of its own, which outlives the server. How it
stands is told by files beside the ledger, ``exports/<run>.<format>.json`` and ``.err``: a note on the process while it
lives, then what it printed.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ...configs.errors import BadInput
from ..exporters.table import format_names, paths_of
from ..report.reading import RunTold
from .desk import Desk
from .processes import COMMAND, living, start_noted

FOR = {
    "glb": "browsers, engines, Blender",
    "gltf": "engines, maps beside it",
    "obj": "any 3D program",
    "ply": "meshes with colours",
    "stl": "printing, no colours",
    "usdz": "Apple’s viewers, USD",
    "fbx": "game engines",
    "blend": "Blender",
}


@dataclass(frozen=True)
class Offer:
    """A format of a run: its files, its own first; or that it is being made, or why it could not be."""

    name: str
    purpose: str
    files: Sequence[Path]
    working: bool
    error: str | None

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(path.stat().st_size for path in self.files)


def offers(desk: Desk, run: RunTold) -> list[Offer]:
    """All formats of a run that has a mesh."""
    return [_offer(desk, run, name) for name in format_names()]


def _offer(desk: Desk, run: RunTold, name: str) -> Offer:
    own = [path for path, _ in run.files if path.suffix == f".{name}" and "_lod" not in path.stem]
    files = [path for path in paths_of(name, own[-1].parent, own[-1].stem) if path.is_file()] if own else []
    note, said = _places(desk, run, name)
    working = living(note) is not None
    error = None if working or files else _error(said)
    return Offer(name, FOR.get(name, "a plug-in’s format"), files, working, error)


def _error(said: Path) -> str | None:
    told = _answer(said, "writes")
    return None if told is None else str(told.get("error") or "no file was written")


def _answer(said: Path, does: str) -> dict[str, Any] | None:
    """What a command with --json printed last, or {"error"} where that cannot be read; None if nobody asked for it.

    Args:
        does: what the command does with the run, in that sentence.
    """
    try:
        return dict(json.loads(said.read_text(encoding="utf-8").strip().split("\n")[-1]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        return {"error": f"the program that {does} it ended before it was done"}


def _start(desk: Desk, run: RunTold, name: str, *words: str) -> None:
    """Have a command of slipcast write something of a run."""
    note, said = _places(desk, run, name)
    start_noted([*COMMAND, *words, "--json"], note, said=said, errors=Path(os.devnull))


def _places(desk: Desk, run: RunTold, name: str) -> tuple[Path, Path]:
    folder = desk.folder / "exports"
    return folder / f"{run.path.name}.{name}.json", folder / f"{run.path.name}.{name}.said"


def start_export(desk: Desk, run: RunTold, name: str) -> None:
    """Begin to write a format, unless it is there or being written.

    Raises:
        BadInput: no such format.
        SlipcastError: the process cannot be started.
    """
    if name not in format_names():
        raise BadInput(f"there is no format {name[:40]!r}; there are {', '.join(format_names())}")
    offer = _offer(desk, run, name)
    if offer.files or offer.working:
        return
    _start(desk, run, name, "export", str(run.path), "--format", name)


@dataclass(frozen=True)
class Sent:
    """Whether a run is being sent to Blender, into which file it was, or why it could not be."""

    working: bool
    file: str | None = None
    error: str | None = None


def sent(desk: Desk, run: RunTold) -> Sent:
    """How sending a run to Blender stands."""
    note, said = _places(desk, run, "to-blender")
    if living(note) is not None:
        return Sent(True)
    told = _answer(said, "sends") or {}
    return Sent(False, told.get("file"), told.get("error"))


def start_send(desk: Desk, run: RunTold) -> None:
    """Begin to send a run to Blender (``slipcast blender send``), unless it is being sent.

    Raises:
        SlipcastError: the process cannot be started.
    """
    if not sent(desk, run).working:
        _start(desk, run, "to-blender", "blender", "send", str(run.path))


def packed(files: Sequence[Path], target: IO[bytes]) -> None:
    """Write a ZIP of files that belong together; their maps are compressed as they are."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            archive.write(path, path.name)


def offer_of(desk: Desk, run: RunTold, name: str) -> Offer | None:
    """One format; None where its files are not there."""
    offer = _offer(desk, run, name) if name in format_names() else None
    return offer if offer and offer.files else None
