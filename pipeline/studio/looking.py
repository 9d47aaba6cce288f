"""How a job stands, read from the ledger, its run's folder and what its worker is at: all that its page shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...configs.errors import BadInput
from ..batch.rows import Row
from ..report.reading import RunTold, StageTold, read_told
from ..stages.table import STAGES
from .desk import Desk
from .now import read_now

WORDS = {
    "queued": "waiting",
    "running": "running",
    "done": "finished",
    "failed": "failed",
    "set aside": "failed",
    "cancelled": "cancelled",
}
"""{state in the ledger: how it is called}."""
OVER = ("finished", "failed", "cancelled")
TITLES = {
    "image": "Picture",
    "lift": "First shape",
    "refine": "Refinement",
    "mesh": "Mesh",
    "paint": "Paint",
    "export": "Files",
}
_TAIL = 100_000  # bytes of a log that are read


@dataclass(frozen=True)
class StageSeen:
    """A stage as the page shows it: ``state`` is finished, running, waiting or failed."""

    name: str
    title: str
    state: str
    seconds: float | None


@dataclass(frozen=True)
class JobSeen:
    """A job as its page shows it.

    Attributes:
        state: one of ``WORDS``' words.
        ahead: how many wait before it.
        now: what its worker is at (``now.read_now``), or None.
        run: its run, or None before it has begun.
        count: candidates that are to be drawn; ``ready``: those that are there; ``chosen``: the one that goes on.
        picking: whether it is for drawing candidates alone, to pick from.
        usual: {stage: seconds that it took earlier jobs}.
        is_lost: whether it is finished and somebody has removed what it made.
    """

    row: Row
    entry: Mapping[str, Any]
    state: str
    ahead: int
    now: Mapping[str, Any] | None
    run: RunTold | None
    stages: Sequence[StageSeen]
    count: int
    ready: int
    chosen: int | None
    picking: bool
    usual: Mapping[str, float]
    is_lost: bool

    @property
    def title(self) -> str:
        """The prompt, or what else the job is known by."""
        return self.row.prompt or f"A picture of yours ({self.row.id})"

    @property
    def is_over(self) -> bool:
        """Whether nothing will change by itself."""
        return self.state in OVER

    @property
    def share(self) -> float | None:
        """Of the stage at work, 0 to 1."""
        if self.now is None or not self.now["total"]:
            return None
        return min(1.0, self.now["done"] / self.now["total"])

    @property
    def left_s(self) -> float | None:
        """Seconds until all is done: of the stage at work, and what later ones took earlier jobs; None if unknown."""
        later = [stage.name for stage in self.stages if stage.state == "waiting"]
        if self.now is None or self.now["left_s"] is None or any(name not in self.usual for name in later):
            return None
        return self.now["left_s"] + sum(self.usual[name] for name in later)

    @property
    def spoken(self) -> str:
        """A sentence for those who do not see the page; another one whenever there is something to say."""
        at = next((stage.title for stage in self.stages if stage.state == "running"), None)
        return f"{self.state}: {at}" if at and self.state == "running" else self.state


def job_seen(desk: Desk, name: str) -> JobSeen | None:
    """The job with this id, or None."""
    with desk.ledger() as ledger:
        rows = ledger.rows()
        row = next((row for row in rows if row.id == name), None)
        if row is None:
            return None
        usual = ledger.usual_seconds(row.models) if row.state == "running" else {}
    ahead = sum(other.state == "queued" and other.place < row.place for other in rows)
    entry, now = desk.entry(name), read_now(desk.folder)
    run = _run(desk.runs / row.folder) if row.folder else None
    state = WORDS[row.state]
    count, ready, chosen = _candidates(run, entry)
    return JobSeen(
        row=row,
        entry=entry,
        state=state,
        ahead=ahead if row.state == "queued" else 0,
        now=now.get(row.id) if row.state == "running" else None,
        run=run,
        stages=_stages(row, run, state),
        count=count,
        ready=ready,
        chosen=chosen,
        picking=row.until == "image",
        usual=usual,
        is_lost=desk.is_lost(row),
    )


def _run(folder: Path) -> RunTold | None:
    try:
        return read_told(folder)
    except (BadInput, OSError):  # it has not begun, or is being written at this moment
        return None


def _stages(row: Row, run: RunTold | None, state: str) -> list[StageSeen]:
    names = [stage.name for stage in STAGES]
    names = names[: names.index(row.until) + 1] if row.until in names else names
    found = []
    for name in names:
        told = run.stage(name) if run else None
        status = told.status if told else "waiting"
        if state == "finished":
            status = "finished"  # a later job of the same run may be at it again
        elif status not in ("finished", state):
            status = "waiting"  # as its manifest was left, by an attempt that was stopped or failed
        found.append(StageSeen(name, TITLES.get(name, name), status, told.seconds if told else None))
    return found


def _candidates(run: RunTold | None, entry: Mapping[str, Any]) -> tuple[int, int, int | None]:
    """(how many there are to be, how many are drawn, which one goes on)."""
    if run is None or entry.get("picture"):
        return 0, 0, None
    image = run.config.get("image")
    count = image.get("candidates", 0) if isinstance(image, dict) else 0
    count = count if isinstance(count, int) else 0
    path, stage = run.file("image", "candidates.png"), run.stage("image")
    if path is None or stage is None:
        return count, 0, None
    if stage.status == "finished":
        chosen = stage.facts.get("chosen")
        return count, count, chosen if isinstance(chosen, int) else None
    return count, drawn(path, run), None


def drawn(path: Path, run: RunTold) -> int:
    """How many pictures a row of them holds that is not drawn to its end."""
    from PIL import Image

    try:
        with Image.open(path) as row:
            return max(1, round(row.width / (row.height * ratio(run))))
    except OSError:
        return 0


def ratio(run: RunTold) -> float:
    """Width over height of a run's pictures."""
    image = run.config.get("image")
    size = str((image.get("size") if isinstance(image, dict) else None) or "1x1")
    width, _, height = size.partition("x")
    return int(width) / int(height) if width.isdecimal() and height.isdecimal() and int(height) else 1.0


@dataclass(frozen=True)
class Course:
    """A refinement as it goes: the last line of its log."""

    step: int
    steps: int | None
    losses: Mapping[str, float]
    per_s: float | None


def course(job: JobSeen) -> Course | None:
    """Of a job whose refinement has begun; None before."""
    path = job.run.file("refine", "log.jsonl") if job.run else None
    if path is None or job.run is None:
        return None
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            lines = file.read().decode("utf-8", "replace").split("\n")
        told = json.loads(lines[-2])  # the last piece is empty, or a line that is being written
        losses = {str(name): float(loss) for name, loss in told["losses"].items() if loss is not None}
        steps = job.run.config.get("refine", {}).get("steps")
        return Course(int(told["step"]) + 1, steps, losses, told.get("steps_per_s"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def failed_stage(job: JobSeen) -> StageTold | None:
    """The stage that a failed job failed in, as far as its run says so."""
    stages = job.run.stages if job.run else ()
    return next((stage for stage in stages if stage.status == "failed"), None)
