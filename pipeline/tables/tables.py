"""``slipcast eval paper-tables``: the plan, what it costs, the cells, the page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ...configs.paths import given_path
from ...systems.models.identity import model_identity
from ...systems.models.precision import resolve_device
from ..run.measure import commit, machine
from ..run.progress import Reporter
from .bench import Bench
from .cells import Store, finished, lacking, run, wanted
from .learning import PICTURES, Lessons
from .page import write_page
from .plan import all_cells, measured, papers_plan, refuse_missing, told
from .scales import Scale
from .world import source_of

RESULTS = "results.md"


def paper_tables(
    scale: Scale,
    out: Path,
    console: Reporter,
    *,
    only: Sequence[str] = (),
    page: Path | None = None,
    pictures: Path | None = None,
    clip: str | None = None,
    device: str = "cpu",
    dry_run: bool = False,
    command: str = "slipcast eval paper-tables",
) -> dict[str, Any]:
    """Compute what is missing of the tables and write the page, or say what that would cost; JSON-able.

    Args:
        out: keeps the cells, each with the key of all that it depends on.
        only: tables to compute, all if empty; the page shows whatever is finished.
        page: where the page goes; into ``out`` if None.
        pictures: a folder of the domain's pictures, for the papers' own scale.
        clip: a CLIP network at hand, for alignment there.
    Raises:
        BadInput: another base than the recorded one, an unknown table, a model, an extractor or pictures that are not
            here.
        SlipcastError: a disk that is full; finished cells are kept.
    """
    if dry_run and scale.base != "starter":
        return papers_plan(scale, pictures)
    refuse_missing(scale, pictures)
    device = resolve_device(device)
    bench = Bench(scale, out / "cells" / "data" / "true" / PICTURES, console, device, clip)
    base = bench.base
    folder = None if pictures is None else given_path(pictures, "--pictures")
    made = {"commit": commit(), **_machine()}
    store = Store(out, scale.base, model_identity(base.folder), made)
    lessons = Lessons(bench, store, folder, source_of(folder, base.picture_size))
    cells = all_cells(lessons)
    chosen = wanted(cells, only)
    missing = lacking(chosen, finished(chosen, store))
    plan = told(missing, measured(base, scale), scale, cores=len(os.sched_getaffinity(0)))
    if dry_run:
        return plan
    console.notice(
        f"{len(missing)} of {len(chosen)} cells, about {plan['core_hours']} hours of one core, {plan['hours']} hours "
        "here; what is finished is kept"
    )
    if any(cell.cost.judged for cell in chosen):
        _ = bench.networks  # better missed before hours of training
    run(chosen, store, console)
    found = finished(cells, store)  # of tables that were not asked for this time as well
    where = page or out / RESULTS
    write_page(where, found, store, scale, command, missing=len(cells) - len(found))
    return {"page": str(where), "cells": len(found), **plan}


def _machine() -> dict[str, Any]:
    return {name: value for name, value in machine().items() if isinstance(value, str | int | float)}


def seeds_of(text: str | None) -> tuple[int, ...] | None:
    """``0,1,2`` as numbers. BadInput for anything else."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts) or len(set(parts)) != len(parts):
        raise BadInput(f"--seeds expects different whole numbers such as 0,1,2, not {text!r}")
    return tuple(int(part) for part in parts)
