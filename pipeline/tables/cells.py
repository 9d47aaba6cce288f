"""What the tables are made of: cells, the order among them, and which of them a command has to compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Figures = dict[str, Any]


@dataclass(frozen=True)
class Cost:
    """What a cell costs: pictures through the network with and without a backward pass, pictures that are judged,
    things that are rendered, assets that are made, of the text network and of the small one of classes."""

    trained: int = 0
    drawn: int = 0
    judged: int = 0
    rendered: int = 0
    assets: int = 0
    class_trained: int = 0
    class_drawn: int = 0


@dataclass(frozen=True)
class Cell:
    """One figure, or a few that are measured together.

    Attributes:
        name: ``table/row-seed``.
        make: computes it; told the folder for its files, which no half-made cell's files are in, and the folder's
            ``work``, in which one that is resumed finds what it left.
        depends: the settings that decide it, JSON-able.
        needs: names of cells before it.
        version: of its code, raised when that changes what comes out.
    """

    name: str
    make: Callable[[Path], Figures]
    depends: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    version: int = 1
    cost: Cost = field(default_factory=Cost)

    @property
    def table(self) -> str:
        """The first part of its name."""
        return self.name.split("/")[0]


@dataclass(frozen=True)
class Kept:
    """A finished cell; ``whole`` unless somebody deleted its files."""

    figures: Figures
    seconds: float
    made: Mapping[str, Any]
    whole: bool = True


def lacking(cells: Sequence[Cell], found: Mapping[str, Kept]) -> list[Cell]:
    """Those to compute, in order: what is not finished, and what these need whose files somebody deleted."""
    by_name, names = {cell.name: cell for cell in cells}, set[str]()
    waiting = [cell.name for cell in cells if cell.name not in found]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += [one for one in by_name[name].needs if one not in found or not found[one].whole]
    return [cell for cell in cells if cell.name in names]


def wanted(cells: Sequence[Cell], tables: Sequence[str]) -> list[Cell]:
    """The cells of some tables, all where none is named, and those that they need, in order.

    Raises: BadInput for a name that is no table.
    """
    from ...configs.names import unknown_name

    known = list(dict.fromkeys(cell.table for cell in cells))
    for name in tables:
        if name not in known:
            raise unknown_name("table", name, known)
    by_name, names = {cell.name: cell for cell in cells}, set[str]()
    waiting = [cell.name for cell in cells if not tables or cell.table in tables]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += by_name[name].needs
    return [cell for cell in cells if cell.name in names]
