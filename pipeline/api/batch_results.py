"""What a ``Batch`` tells and returns."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ...configs.errors import BadInput
from ..report.notebook import batch_html, run_html
from ..report.writing import write_index
from ..run.manifest import MANIFEST, find_run


@dataclass(frozen=True)
class BatchEvent:
    """Something that happened, as ``slipcast batch --events`` writes it down.

    Attributes:
        kind: started, stage, step, notice, loaded, passed on, done, failed, cancelled, parent or over.
        job: the id of the job; None for the batch as a whole.
        values: what the kind has to tell: stage, seconds, text, error and so on.
    """

    kind: str
    job: str | None
    values: Mapping[str, Any]


OnBatchEvent = Callable[[BatchEvent], None]


@dataclass(frozen=True)
class BatchJob:
    """What has become of a job. In a notebook: preview and 3-D view, or what went wrong.

    Attributes:
        state: done, failed, set aside, cancelled, queued or running.
        result: path or address of the GLB, or of the last stage's folder; None without a result.
        run: folder of the run here, if it is here.
        seconds, peak_mb: of what was made, as far as it is known.
    """

    id: str
    prompt: str
    seed: int
    state: str
    result: str | None
    run: Path | None
    error: str | None
    seconds: float | None
    peak_mb: float | None
    attempts: int

    @classmethod
    def told(cls, job: Mapping[str, Any], out: Path) -> Self:
        """Of a job as ``batch.asking`` tells it, and the folder of the runs here."""
        run = None
        if job["folder"] is not None and (out / job["folder"] / MANIFEST).is_file():
            run = out / job["folder"]
        elif job["result"] is not None:  # of the best of several tries
            try:
                run = find_run(Path(job["result"]))
            except BadInput:
                run = None
        kept: dict[str, Any] = {name: job[name] for name in cls.__dataclass_fields__ if name in job}
        return cls(**kept, run=run)

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self.state == "done"

    def _repr_html_(self) -> str:
        if self.run is not None:
            return run_html(self.run)
        return f"<p><strong>{html.escape(self.id)}</strong>: {html.escape(self.error or self.state)}</p>"


@dataclass(frozen=True)
class Batched:
    """A batch that was run: ``counts`` is {state: jobs}, ``left_out`` sentences on jobs that could not be used.

    In a notebook: its pictures.
    """

    folder: Path
    jobs: tuple[BatchJob, ...]
    counts: dict[str, int]
    left_out: tuple[str, ...]

    @property
    def failed(self) -> tuple[BatchJob, ...]:
        """Jobs that are over without a result."""
        return tuple(job for job in self.jobs if job.state in ("failed", "set aside"))

    def index(self) -> Path:
        """Write index.html of all its runs, and return its path.

        Raises:
            BadInput: none of its runs is here.
        """
        runs = [job.run for job in self.jobs if job.run is not None]
        if not runs:
            raise BadInput(f"no run of the batch in {self.folder} is here, so there is nothing to show")
        return write_index(self.folder, runs=list(dict.fromkeys(runs)))

    def _repr_html_(self) -> str:
        return batch_html(
            [(job.prompt or job.id, job.error or job.state, job.run) for job in self.jobs], self.counts
        )
