"""``Batch``: many prompts from a program or notebook, by the same ledger and workers as ``slipcast batch``.

    batch = Batch("vases", config="smoke").add("a blue vase").add("a green vase", seed=3)
    for job in batch.results():
        print(job.id, job.state, job.result)

Workers are processes that import the program anew: in a script, call this below ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import json
import queue
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from ...configs.atomic import explain_os_errors, write_text
from ...configs.errors import BadInput
from ...configs.loading import parse_override
from ...configs.stopping import ask_to_stop, forget
from ..batch.draining import Drain
from ..batch.ledger import ledger_folder
from ..batch.remote import is_address
from ..batch.resources import as_mb
from ..batch.running import BatchResult, run_batch
from ..batch.shares import Share
from ..batch.verdicts import Limits
from .batch_results import Batched, BatchEvent, BatchJob, OnBatchEvent


class Batch:
    """Jobs that are made together, by workers that load their models once. The same batch again makes what is missing.

    Args:
        name: of the batch; its jobs and its ledger lie in ``<out>/<name>.jsonl.batch``.
        config: preset or YAML file of the jobs that name none; ``overrides``: ``key=value`` on top of all.
        out: folder of the runs, or an address of fsspec, with copies of them in ``local``.
        workers: processes at work; None for one a GPU, or one for every two cores.
        keep_going: leave out jobs that cannot be used, instead of refusing all.
        attempts: a job that fails as often as this is set aside; ``time_limit`` (seconds) and ``memory_limit`` (such as
            "4G") hold for each.
        ray: address of a Ray cluster, or "local", to work there; a worker asks for ``cpus`` and ``gpus``, and for what
            ``needs`` says of its stages (``slipcast batch --help``).
    """

    def __init__(
        self,
        name: str = "batch",
        *,
        config: str = "starter",
        overrides: Sequence[str] = (),
        out: str | Path = "runs",
        local: str | Path = "runs",
        workers: int | None = None,
        keep_going: bool = False,
        attempts: int = 3,
        time_limit: float | None = None,
        memory_limit: str | None = None,
        ray: str | None = None,
        cpus: float = 1.0,
        gpus: float = 0.0,
        needs: Sequence[str] = (),
    ) -> None:
        if not name or name.startswith(".") or Path(name).name != name:
            raise BadInput(f"a batch's name is that of a file, such as vases, not {name!r}")
        remote = str(out) if is_address(str(out)) else None
        self.out = Path(out) if remote is None else Path(local)
        self.jobs_file = ledger_folder(Path(f"{name}.jsonl"), self.out) / f"{name}.jsonl"
        self._lines: list[dict[str, Any]] = []
        memory_mb = None
        if memory_limit is not None:
            try:
                memory_mb = as_mb(memory_limit)
            except ValueError as error:
                raise BadInput(f"memory_limit: {error}") from error
        self._options: dict[str, Any] = {
            "config": config,
            "overrides": overrides,
            "out": self.out,
            "remote": remote,
            "workers": workers,
            "keep_going": keep_going,
            "limits": Limits(attempts=attempts, seconds=time_limit, memory_mb=memory_mb),
            "ray": ray,
            "share": Share(cpus, gpus, memory_mb),
            "needs": needs,
        }

    def add(
        self,
        prompt: str | None = None,
        *,
        picture: str | Path | None = None,
        id: str | None = None,
        seed: int = 0,
        config: str | None = None,
        overrides: Sequence[str] = (),
        until: str | None = None,
        tries: int = 1,
        keep: int = 1,
    ) -> Self:
        """One more job, checked together with the others when they are run.

        Args:
            picture: of what to make, instead of one that is drawn of the prompt.
            id: its name; by default made of the prompt.
            until: its last stage.
            tries: pictures that are drawn, with seeds from ``seed`` on; the best ``keep`` of them become assets.
        Raises:
            BadInput: an override is no ``key=value``.
        """
        settings: dict[str, Any] = {}
        for one in overrides:
            settings |= parse_override(one)
        line = {
            "prompt": prompt,
            "picture": None if picture is None else str(Path(picture).absolute()),
            "id": id,
            "seed": seed,
            "config": config,
            "overrides": settings or None,
            "until": until,
            "tries": tries,
            "keep": keep,
        }
        self._lines.append({name: value for name, value in line.items() if value is not None})
        return self

    def run(self, progress: OnBatchEvent | None = None) -> Batched:
        """Make all jobs that are not made yet.

        The first Ctrl-C lets the jobs at work end, the second one stops them; the same call goes on.

        Args:
            progress: called with everything that happens.
        Raises:
            BadInput: a job, or an option, cannot be used; nothing was made.
            SlipcastError: the ledger cannot be written, or another process drives this batch.
        """
        finished: list[BatchResult] = []
        for _ in self._results(progress, finished):
            pass
        (result,) = finished
        jobs = tuple(BatchJob.told(one, self.out) for one in result.jobs)
        return Batched(result.folder, jobs, result.counts, tuple(result.left_out))

    def results(self, progress: OnBatchEvent | None = None) -> Iterator[BatchJob]:
        """Each job once, as it is done, failed or set aside; those of an earlier call come first.

        Whoever leaves the loop early waits for the jobs at work; the others are made by the next call.

        Args, Raises: as of ``run``.
        """
        yield from self._results(progress, [])

    def _results(self, progress: OnBatchEvent | None, finished: list[BatchResult]) -> Iterator[BatchJob]:
        self._write_jobs()
        said: queue.SimpleQueue[BatchEvent | dict[str, Any] | BaseException | None] = queue.SimpleQueue()
        drain = Drain()

        def work() -> None:
            try:
                finished.append(
                    run_batch(
                        self.jobs_file,
                        drain=drain,
                        on_event=lambda kind, job, values: said.put(BatchEvent(kind, job, values)),
                        on_over=said.put,
                        **self._options,
                    )
                )
                said.put(None)
            except BaseException as error:  # told where somebody waits for it
                said.put(error)

        thread = threading.Thread(target=work, name="slipcast-batch", daemon=True)
        thread.start()
        try:
            while (one := said.get()) is not None:
                if isinstance(one, BatchEvent):
                    if progress is not None:
                        progress(one)
                elif isinstance(one, BaseException):
                    raise one
                else:
                    yield BatchJob.told(one, self.out)
        finally:
            _wait_for(thread, drain)

    def _write_jobs(self) -> None:
        if not self._lines:
            raise BadInput('the batch has no jobs; add("a blue vase") adds one')
        folder = self.jobs_file.parent
        with explain_os_errors(folder, "writing the jobs of a batch"):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lines = [json.dumps(line, ensure_ascii=False, allow_nan=False) for line in self._lines]
            except (TypeError, ValueError) as error:
                raise BadInput(f"a job holds what cannot be written down ({error})") from error
            write_text(self.jobs_file, "\n".join([*lines, ""]))


def _wait_for(thread: threading.Thread, drain: Drain) -> None:
    """Let the jobs at work end, or stop them where they are at Ctrl-C."""
    if thread.is_alive():
        drain.asked = drain.asked or signal.SIGINT
    try:
        thread.join()
    except KeyboardInterrupt:
        ask_to_stop(signal.SIGINT)
        thread.join()
        raise
    finally:
        forget()  # the driver may have asked for a stop, and in this process nobody else would take it back
