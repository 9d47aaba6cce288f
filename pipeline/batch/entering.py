"""From the jobs of a file to the lines of a ledger: new ones, those that are gone, candidates, lost results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..run.staging import scratch_folder
from .jobs import Job
from .ledger import Ledger
from .placing import Places, plain_path
from .remote import Remote
from .rows import Row
from .work import model_group

OVER = ("done", "failed", "set aside", "cancelled")


def enter(ledger: Ledger, jobs: Sequence[Job], out: Path, remote: Remote | None = None) -> dict[str, Job]:
    """Make the ledger hold these jobs; {key: job} of all that may run, candidates of both kinds among them.

    Finished jobs whose results somebody removed are queued again, and so are those that lie not at ``remote`` yet. Jobs
    that the file no longer holds are left out.
    """
    known = {row.key: row for row in ledger.all_rows()}
    if remote is None:
        if ledger.about("remote"):  # results lie here, from now on
            ledger.note("remote", "")
        return _entered(ledger, jobs, known, Places(out), out, _here(out))
    there = remote.runs()
    new = (one for job in jobs for one in (job, *_children(job)) if one.key not in known)
    names = {plain_path(out, one.prompt, one.seed, one.picture).name for one in new}
    with scratch_folder("reading manifests") as folder:
        remote.manifests(names & there, folder)
        stored = there if ledger.about("remote") == remote.address else set[str]()
        ours = _entered(
            ledger, jobs, known, Places(out, folder), out, lambda result: Path(result).parts[0] in stored
        )
    ledger.note("remote", remote.address)
    return ours


def _here(out: Path) -> Callable[[str], bool]:
    return lambda result: (out / result).exists()


def _entered(
    ledger: Ledger,
    jobs: Sequence[Job],
    known: Mapping[str, Row],
    places: Places,
    out: Path,
    is_there: Callable[[str], bool],
) -> dict[str, Job]:
    ours = {job.key: job for job in jobs}
    for job in jobs:
        row = known.get(job.key)
        if row is not None and row.folder:
            places.keep(out / row.folder, job.settings_key)
    lines: list[dict[str, Any]] = []
    for place, job in enumerate(jobs):
        row = known.get(job.key)
        folder = row.folder if row is not None else _folder(job, places)
        lines.append(line_of(job, place, folder))
        for child in _children(job):
            ours[child.key] = child
            if child.until == "image" or child.key in known:  # those made whole are chosen when all are drawn
                lines.append(line_of(child, place, _folder(child, places, known)))
    ledger.add(lines)
    ledger.leave_out({job.key for job in jobs})
    lost = [row for row in known.values() if row.key in ours and _is_lost(row, is_there)]
    ledger.again([row.key for row in lost])
    for parent in {row.parent for row in lost if row.parent} | {job.key for job in jobs if job.tries > 1}:
        settle(ledger, ours[parent], out)
    return ours


def _is_lost(row: Row, is_there: Callable[[str], bool]) -> bool:
    return row.state == "done" and row.result is not None and not is_there(row.result)


def line_of(job: Job, place: int, folder: str | None) -> dict[str, Any]:
    """A job as ``Ledger.add`` takes it, ``place`` in the queue and ``folder`` its run's name."""
    return {
        "key": job.key,
        "id": job.id,
        "parent": job.parent,
        "place": place,
        "prompt": job.prompt,
        "seed": job.seed,
        "until": job.until,
        "models": model_group(job.config),
        "folder": folder,
    }


def _folder(job: Job, places: Places, known: Mapping[str, Row] | None = None) -> str | None:
    """The name of a job's run folder; None for one that has children, and is not run itself."""
    if job.tries > 1:
        return None
    if known is not None and job.key in known:
        return known[job.key].folder
    return places.folder(job.prompt, job.seed, job.config, job.settings_key, job.picture).name


def _pictures(job: Job) -> list[Job]:
    return [job.candidate(number, whole=False) for number in range(job.tries)]


def _children(job: Job) -> list[Job]:
    if job.tries == 1:
        return []
    return [*_pictures(job), *(job.candidate(number, whole=True) for number in range(job.tries))]


def settle(ledger: Ledger, job: Job, out: Path) -> str:
    """What has become of a job with candidates: when all are drawn, the best go on; when those are over, it is.

    Returns: the job's state.
    """
    rows = {row.key: row for row in ledger.children(job.key)}
    drawn = [rows[child.key] for child in _pictures(job) if child.key in rows]
    whole = [child for number in range(job.tries) if (child := job.candidate(number, whole=True)).key in rows]
    before = ledger.row(job.key)
    if before is not None and before.state == "cancelled":
        return before.state
    state, entries = "running", dict[str, Any]()
    if all(row.state == "queued" for row in rows.values()):
        state = "queued"
    elif all(row.state in OVER for row in drawn) and not whole:
        best = _best_first(drawn)[: job.keep]
        place = 0 if before is None else before.place
        for row in best:
            child = job.candidate(row.seed - job.seed, whole=True)
            ledger.add([line_of(child, place, row.folder)])
        if not best:
            state, entries = "set aside", dict[str, Any](error="none of its pictures could be drawn")
    elif whole and all(rows[child.key].state in OVER for child in whole):
        done = _best_first(rows[child.key] for child in whole)
        state = "done" if len(done) == len(whole) else "set aside"
        error = None if state == "done" else f"{len(whole) - len(done)} of its {len(whole)} assets failed"
        seconds = sum(row.seconds or 0.0 for row in rows.values())
        entries = dict[str, Any]() | {
            "error": error,
            "result": done[0].result if done else None,
            "seconds": seconds,
        }
    ledger.set_state(job.key, state, **entries)
    return state


def _best_first(rows: Iterable[Row]) -> list[Row]:
    """Those that are done, by their score; one without is the last, and of two alike the smaller seed is first."""
    done = (row for row in rows if row.state == "done")
    return sorted(done, key=lambda row: (-(row.score if row.score is not None else float("-inf")), row.seed))
