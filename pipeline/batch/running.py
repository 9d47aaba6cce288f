"""A batch from its job file to its results: what ``slipcast batch`` does."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ...configs.paths import given_folder
from ...configs.stopping import ask_to_stop, check_stop
from ..run.progress import Quiet, Reporter
from . import work
from .asking import told
from .checking import check_models
from .draining import Drain, draining
from .driver import Driver
from .engine import Engine
from .entering import enter
from .events import event_lines
from .jobs import read_jobs
from .ledger import Ledger, ledger_folder, open_ledger
from .processes import Processes, end_orphan
from .ray_cluster import on_ray
from .remote import Remote
from .resources import FIRST_GUESS_MB, Plan, free_memory_mb, plan_workers, usable_cores, visible_gpus
from .shares import Leg, Share, legs_of
from .telling import OnEvent, OnOver, Telling
from .verdicts import Limits


@dataclass(frozen=True)
class BatchResult:
    """What a batch left behind: ``jobs`` as ``asking.told`` tells them, ``left_out`` sentences on lines not used."""

    folder: Path
    counts: dict[str, int]
    jobs: list[dict[str, Any]]
    left_out: list[str]

    @property
    def failed(self) -> int:
        """Jobs that are over and have no result."""
        return self.counts["failed"] + self.counts["set aside"]


def run_batch(
    path: Path,
    *,
    config: str = "starter",
    overrides: Sequence[str] = (),
    out: Path = Path("runs"),
    workers: int | None = None,
    keep_going: bool = False,
    limits: Limits | None = None,
    events: str | None = None,
    console: Reporter | None = None,
    ray: str | None = None,
    share: Share | None = None,
    needs: Sequence[str] = (),
    remote: str | None = None,
    drain: Drain | None = None,
    on_event: OnEvent | None = None,
    on_over: OnOver | None = None,
) -> BatchResult:
    """Make what a job file asks for and is not made yet.

    Args:
        config: preset of the jobs that name none; ``overrides``: ``key=value`` on top of all.
        workers: processes; None for as many as fit (``resources.plan_workers``).
        keep_going: leave lines out that cannot be used.
        events: file for JSON lines, ``-`` for stdout.
        ray: address of a Ray cluster, or ``local``, to work there; None for processes of this machine.
        share: what of the cluster a worker asks for, and ``needs``, by stage (``shares.legs_of``).
        remote: address of fsspec that finished stages are stored at and come back from; ``out`` holds copies.
        drain: asks for an end from outside; by default Ctrl-C does.
        on_event: called with each event, and ``on_over`` with each job that is over, those of earlier calls first.
    Raises:
        BadInput: the job file, or a model that it names, or the address, cannot be used; nothing was run.
        SlipcastError: another process drives this batch; the ledger cannot be written.
        Stopped: after Ctrl-C; the same call goes on.
    """
    console, legs = console or Quiet(), legs_of(share or Share(), needs)
    out = given_folder(out, "--out")
    if needs and ray is None:
        raise BadInput("--needs is for Ray, which places workers by it; give --ray too")
    jobs, left_out = read_jobs(path, config=config, overrides=overrides, keep_going=keep_going)
    for sentence in left_out:
        console.notice(f"{sentence}; left out")
    check_models(jobs)
    there = None if remote is None else Remote(remote)
    if there is not None:
        there.check()
    with (
        event_lines(events) as write,
        open_ledger(ledger_folder(path, out), make=True) as ledger,
        ledger.driving(),
    ):
        _check_whose(ledger, path)
        end_orphans(ledger)
        by_key = enter(ledger, jobs, out, there)
        tell = Telling(
            ledger,
            jobs,
            remote or out,
            write=write,
            console=console,
            on_event=on_event,
            on_over=on_over,
        )
        with draining(drain) as drain, _engine(ray, workers, legs, ledger, console) as engine:
            # Ray counts the memory of its nodes itself.
            free_mb = free_memory_mb if ray is None else lambda: math.inf
            driver = Driver(
                ledger,
                engine,
                by_key,
                out,
                limits=limits or Limits(),
                tell=tell,
                legs=legs,
                remote=remote,
                free_mb=free_mb,
            )
            driver.run(drain)
            if drain.asked is not None and ledger.next_time() is not None:
                ask_to_stop(drain.asked)
                check_stop()
        jobs_told = [told(row, remote or out) for row in ledger.rows()]
        return BatchResult(ledger.folder, ledger.counts(), jobs_told, left_out)


@contextlib.contextmanager
def _engine(
    ray: str | None, workers: int | None, legs: Sequence[Leg], ledger: Ledger, console: Reporter
) -> Iterator[Engine]:
    if ray is not None:
        with on_ray(ray, WORK, workers=workers, legs=legs) as engine:
            yield engine
        return
    plan = plan_here(workers, ledger)
    for sentence in plan.notices:
        console.notice(sentence)
    yield _processes(plan)


def plan_here(workers: int | None, ledger: Ledger) -> Plan:
    """How many processes this machine has room for, and what each is given."""
    return plan_workers(
        workers,
        cores=usable_cores(),
        free_mb=free_memory_mb(),
        worker_mb=ledger.peak_mb() or FIRST_GUESS_MB,
        gpus=visible_gpus(),
    )


WORK = work.make_job
"""What workers do with a task; it is known to them by its module and name."""


def _processes(plan: Plan) -> Engine:
    return Processes(WORK, plan.environments)


def end_orphans(ledger: Ledger) -> None:
    """What a killed driver left: its workers end, and what they were at is to be done again."""
    for row, worker in ledger.running():
        end_orphan(worker)
        ledger.end(row.key, "queued", outcome="interrupted")


def _check_whose(ledger: Ledger, path: Path) -> None:
    """A ledger is one job file's: two of one name in two folders would undo each other's jobs."""
    mine, before = str(path.absolute()), ledger.about("jobs")
    if before not in (None, mine) and Path(before or "").exists():
        raise BadInput(f"{ledger.folder} is the ledger of {before}; use another --out for {path}")
    ledger.note("jobs", mine)
