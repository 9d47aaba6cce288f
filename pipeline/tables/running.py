"""Cells computed: one after the other in this process, or side by side, each by a process that keeps a core busy.

A cell is small: one process with two threads computes it hardly faster than one with a single thread, and two cells at
once take little longer than one. What a worker reports is drawn here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...configs.errors import SlipcastError
from ...configs.stopping import check_stop
from ...systems.models.identity import model_identity
from ..batch.processes import Processes
from ..run.measure import commit, machine
from ..run.progress import Advance, Reporter
from .bench import Bench
from .cells import Cell, Kept, lacking
from .learning import PICTURES, Lessons
from .plan import all_cells
from .scales import Scale
from .store import Store
from .working import compute
from .world import source_of

WORKER_MB = 2000.0
"""Memory of a worker: the networks of the base, a training's masters and averages, two judges."""


@dataclass(frozen=True)
class Asked:
    """The tables that a command is about, as another process can be told of them.

    Attributes:
        out: keeps the cells.
        pictures: a folder of the domain's pictures, for the papers' own scale.
        clip: a CLIP network at hand, for alignment there.
    """

    scale: Scale
    out: Path
    pictures: Path | None = None
    clip: str | None = None
    device: str = "cpu"

    def opened(self, console: Reporter) -> tuple[list[Cell], Store, Bench]:
        """All cells, where they are kept, and what they measure with.

        Raises: BadInput for another base than the recorded one, or a model that is not here.
        """
        scale, true = self.scale, self.out / "cells" / "data" / "true" / PICTURES
        bench = Bench(scale, true, console, self.device, self.clip)
        host = {name: value for name, value in machine().items() if isinstance(value, str | int | float)}
        made = {"commit": commit(), **host}
        store = Store(self.out, scale.base, model_identity(bench.base.folder), made)
        source = source_of(self.pictures, bench.base.picture_size)
        return all_cells(Lessons(bench, store, self.pictures, source)), store, bench


def run(cells: Sequence[Cell], found: Mapping[str, Kept], store: Store, console: Reporter) -> dict[str, Kept]:
    """Compute what is missing, in order; what was computed, by name. Cells that are finished stay whatever fails."""
    keys, missing, made = store.keys(cells), lacking(cells, found), dict[str, Kept]()
    advance = console.task("cells of the tables", len(missing))
    for cell in missing:
        check_stop()
        console.stage_started(cell.name)
        made[cell.name] = store.compute(cell, keys[cell.name])
        console.stage_ended(cell.name, f"{made[cell.name].seconds:.1f} s")
        advance()
    return made


def run_together(
    asked: Asked,
    environments: Sequence[Mapping[str, str]],
    cells: Sequence[Cell],
    found: Mapping[str, Kept],
    store: Store,
    console: Reporter,
) -> dict[str, Kept]:
    """``run`` by several processes, one for each environment; a cell begins when those that it needs are there."""
    keys, waiting, made = store.keys(cells), lacking(cells, found), dict[str, Kept]()
    console.stage_started("tables")
    advance = console.task("cells of the tables", len(waiting))
    engine, busy = Processes(compute, environments), dict[int, Cell]()
    shown: dict[int, Callable[[Mapping[str, Any]], None]] = {}
    try:
        while waiting or busy:
            check_stop()
            for place in set(range(engine.places)) - set(busy):
                cell = _ready(waiting, busy)
                if cell is not None:
                    waiting.remove(cell)
                    busy[place], shown[place] = cell, _bars(cell.name, console)
                    engine.give(place, (asked, cell.name, keys[cell.name]))
            for event in engine.wait(0.5):
                if event.kind == "step":
                    shown[event.place](event.values)
                elif event.kind == "notice":
                    console.notice(event.values["text"])
                elif event.kind == "done":
                    cell = busy.pop(event.place)
                    kept = store.kept(cell.name, keys[cell.name])
                    assert isinstance(kept, Kept), kept
                    made[cell.name] = kept
                    console.stage_ended(cell.name, f"{kept.seconds:.1f} s")
                    advance()
                elif event.kind in ("failed", "died"):
                    check_stop()  # Ctrl-C reaches workers as well
                    raise SlipcastError(why(busy[event.place], event.values))
    finally:
        engine.close(gently=True)  # trainings write down where they were
    return made


def _ready(waiting: Sequence[Cell], busy: Mapping[int, Cell]) -> Cell | None:
    """The first that needs nothing which is still to come."""
    coming = {cell.name for cell in (*waiting, *busy.values())}
    return next((cell for cell in waiting if not coming.intersection(cell.needs)), None)


def _bars(name: str, console: Reporter) -> Callable[[Mapping[str, Any]], None]:
    """Draws what a worker tells of its steps."""
    bars: dict[str, tuple[Advance, list[int]]] = {}

    def step(told: Mapping[str, Any]) -> None:
        what = told["what"]
        if what not in bars:
            bars[what] = console.task(f"{name}: {what}", told["total"]), [0]
        bar, done = bars[what]
        bar(told["done"] - done[0])
        done[0] = told["done"]

    return step


def why(cell: Cell, told: Mapping[str, Any]) -> str:
    """A cell is not there, in one sentence."""
    if "error" in told:
        return f"{cell.name}: {told['error']}"
    by = f" by signal {told['signal']}" if told.get("signal") else ""
    return f"the worker that computed {cell.name} was ended{by}; the same command goes on with this cell"
