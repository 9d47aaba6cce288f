"""``slipcast eval paper-tables``: the plan, what it costs, the cells, the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ...configs.paths import given_path
from ...systems.models.precision import resolve_device
from ..batch.resources import free_memory_mb, plan_workers, usable_cores
from ..run.lock import FolderLock
from ..run.progress import Reporter
from .cells import lacking, wanted
from .page import write_page
from .plan import measured, papers_plan, refuse_missing, told
from .running import WORKER_MB, Asked, run, run_together
from .scales import Scale
from .store import finished

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
    workers: int | None = 1,
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
        workers: processes that compute cells side by side, this one alone if 1; None for one a core on a CPU.
    Raises:
        BadInput: another base than the recorded one, an unknown table, a model, an extractor or pictures that are not
            here.
        SlipcastError: a disk that is full; finished cells are kept.
    """
    if dry_run and scale.base != "starter":
        return papers_plan(scale, pictures)
    refuse_missing(scale, pictures)
    device = resolve_device(device)
    folder = None if pictures is None else given_path(pictures, "--pictures")
    asked = Asked(scale, out, folder, clip, device)
    cells, store, bench = asked.opened(console)
    chosen, found = wanted(cells, only), finished(cells, store, console.notice)
    missing = lacking(chosen, found)
    many = plan_workers(
        workers or (usable_cores() if device == "cpu" else 1),
        cores=usable_cores(),
        free_mb=free_memory_mb(),
        worker_mb=WORKER_MB,
    )
    plan = told(missing, measured(bench.base, scale), scale, workers=many.workers)
    if dry_run:
        return plan
    for notice in many.notices:
        console.notice(notice)
    console.notice(
        f"{len(missing)} of {len(chosen)} cells, about {plan['core_hours']} hours of one core, {plan['hours']} hours "
        "here; what is finished is kept"
    )
    if any(cell.cost.judged for cell in missing):
        _ = bench.networks  # better missed before hours of training
    store.begin()
    lock = FolderLock(out, instead="--out")
    lock.acquire()
    try:
        if many.workers == 1:
            found |= run(chosen, found, store, console)
        else:
            found |= run_together(asked, many.environments, chosen, found, store, console)
    finally:
        lock.release()
    where = page or out / RESULTS
    write_page(where, found, store, scale, command, missing=len(cells) - len(found))
    return {"page": str(where), "cells": len(found), **plan}


def seeds_of(text: str | None) -> tuple[int, ...] | None:
    """``0,1,2`` as numbers. BadInput for anything else."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts) or len(set(parts)) != len(parts):
        raise BadInput(f"--seeds expects different whole numbers such as 0,1,2, not {text!r}")
    return tuple(int(part) for part in parts)
