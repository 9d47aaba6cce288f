"""What the ledger of a batch holds, as other modules read it: a job's row, and who worked on it."""

from __future__ import annotations

from dataclasses import dataclass

STATES = ("queued", "running", "done", "failed", "set aside", "cancelled")


@dataclass(frozen=True)
class Row:
    """What the ledger knows of a job.

    Attributes:
        attempts: those that ended by a fault of the job.
        leg: how many parts of it are done, where its stages go to different workers (``batch.shares``).
    """

    key: str
    id: str
    parent: str | None
    place: int
    prompt: str
    seed: int
    until: str | None
    models: str
    folder: str
    state: str
    attempts: int
    not_before: float
    low_memory: bool
    listed: bool
    result: str | None
    error: str | None
    seconds: float | None
    peak_mb: float | None
    score: float | None
    changed: float | None
    leg: int


@dataclass(frozen=True)
class Worker:
    """A process by host, number and the time of its birth, which tells it from a later one of the same number."""

    host: str
    pid: int
    born: float
