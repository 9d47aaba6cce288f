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
from .draining import draining
from .driver import Driver, Limits
from .engine import Engine
from .entering import OVER, enter
from .events import Spoken, event_lines
from .jobs import Job, read_jobs
from .ledger import Ledger, ledger_folder, open_ledger
from .processes import Processes, end_orphan
from .ray_engine import Share, on_ray
from .resources import FIRST_GUESS_MB, Plan, free_memory_mb, plan_workers, usable_cores, visible_gpus


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
) -> BatchResult:
    """Make what a job file asks for and is not made yet.

    Args:
        config: preset of the jobs that name none; ``overrides``: ``key=value`` on top of all.
        workers: processes; None for as many as fit (``resources.plan_workers``).
        keep_going: leave lines out that cannot be used.
        events: file for JSON lines, ``-`` for stdout.
        ray: address of a Ray cluster, or ``local``, to work there; None for processes of this machine.
        share: what of the cluster a worker asks for.
    Raises:
        BadInput: the job file, or a model that it names, cannot be used; nothing was run.
        SlipcastError: another process drives this batch; the ledger cannot be written.
        Stopped: after Ctrl-C; the same call goes on.
    """
    console, out = console or Quiet(), given_folder(out, "--out")
    jobs, left_out = read_jobs(path, config=config, overrides=overrides, keep_going=keep_going)
    for sentence in left_out:
        console.notice(f"{sentence}; left out")
    _check_models(jobs)
    with (
        event_lines(events) as write,
        open_ledger(ledger_folder(path, out), make=True) as ledger,
        ledger.driving(),
    ):
        _check_whose(ledger, path)
        _end_orphans(ledger)
        by_key = enter(ledger, jobs, out)
        spoken = Spoken(console, len(jobs), _over(ledger))
        over = _over(ledger)

        def tell(kind: str, job: str | None, **values: Any) -> None:
            nonlocal over
            write(kind, job, **values)
            spoken(kind, job, **values)
            if kind in ("done", "failed", "parent", "cancelled") and (now := _over(ledger)) > over:
                spoken("over", None, jobs=now - over)
                over = now

        with draining() as drain, _engine(ray, workers, share, ledger, console) as engine:
            # Ray counts the memory of its nodes itself.
            free_mb = free_memory_mb if ray is None else lambda: math.inf
            driver = Driver(
                ledger, engine, by_key, out, limits=limits or Limits(), tell=tell, free_mb=free_mb
            )
            driver.run(drain)
            if drain.asked is not None and ledger.next_time() is not None:
                ask_to_stop(drain.asked)
                check_stop()
        return BatchResult(
            ledger.folder, ledger.counts(), [told(row, out) for row in ledger.rows()], left_out
        )


@contextlib.contextmanager
def _engine(
    ray: str | None, workers: int | None, share: Share | None, ledger: Ledger, console: Reporter
) -> Iterator[Engine]:
    if ray is not None:
        with on_ray(ray, WORK, workers=workers, share=share or Share()) as engine:
            yield engine
        return
    plan = plan_workers(
        workers,
        cores=usable_cores(),
        free_mb=free_memory_mb(),
        worker_mb=ledger.peak_mb() or FIRST_GUESS_MB,
        gpus=visible_gpus(),
    )
    for sentence in plan.notices:
        console.notice(sentence)
    yield _processes(plan)


WORK = work.make_job
"""What workers do with a task; it is known to them by its module and name."""


def _processes(plan: Plan) -> Engine:
    return Processes(WORK, plan.environments)


def _over(ledger: Ledger) -> int:
    counts = ledger.counts()
    return sum(counts[state] for state in OVER)


def _end_orphans(ledger: Ledger) -> None:
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


def _check_models(jobs: Sequence[Job]) -> None:
    """A model that is not here is told before anything is made, and not once for every job."""
    from ...systems.models.known import SHIPPED, domain_for

    seen: set[tuple[str, str]] = set()
    for job in jobs:
        wanted = {role: getattr(job.config, role) for role in ("base", "model", "lift_model")}
        wanted["domain"] = domain_for(job.config.base, job.config.domain)
        for role, name in wanted.items():
            if name is None or (role, name) in seen or name in SHIPPED.get(role, ()):
                continue
            seen.add((role, name))
            try:
                _folder(job, role)
            except BadInput as error:
                raise BadInput(f"{job.where}: {error}") from error


def _folder(job: Job, role: str) -> Path:
    from ..run.models import ModelStore  # which imports torch for what does not ship with the package

    return ModelStore(job.config).folder(role)
