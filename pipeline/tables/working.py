"""What a worker does: computes the cells that it is told of, by name.

This module imports nothing heavy: torch, which reads once how many threads it may have, comes in after the worker's
environment says so.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..run.progress import Quiet, Reporter

if TYPE_CHECKING:
    from .cells import Cell
    from .running import Asked
    from .store import Store


class _Passing:
    """A reporter that is whichever the cell at work has: what is opened once is used by many cells."""

    to: Reporter = Quiet()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.to, name)


_CONSOLE: Any = _Passing()


@functools.lru_cache(1)
def _opened(asked: Asked) -> tuple[dict[str, Cell], Store]:
    cells, store, _ = asked.opened(_CONSOLE)
    return {cell.name: cell for cell in cells}, store


def compute(task: tuple[Asked, str, str], console: Reporter, shelf: Any) -> dict[str, Any]:
    """What a worker does with a cell, by name; it is kept in the folder."""
    asked, name, key = task
    _CONSOLE.to = console
    cells, store = _opened(asked)
    console.stage_started(name)
    return {"seconds": store.compute(cells[name], key).seconds}
