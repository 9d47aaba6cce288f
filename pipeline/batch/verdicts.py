"""What becomes of a job whose attempt ended without a result.

input           failed: another try of the same input will fail too
error, died, took too long
                again, later and later, and set aside after as many attempts as it may have
memory          once more by itself: no other worker beside it, one network on the device at a time
stopped         again, for it was no fault of the job
busy            again, a little later: another process works in its folder
"""

from __future__ import annotations

from dataclasses import dataclass

from .rows import Row

_LONGEST_BACKOFF_S = 300.0
_OUTCOMES = {"memory": "out of memory", "error": "failed", "input": "failed", "stopped": "interrupted"}


@dataclass(frozen=True)
class Limits:
    """What a job may take.

    Attributes:
        attempts: after as many that failed it is set aside.
        backoff_s: wait before the second attempt, twice as long before each later one.
        seconds, memory_mb: of one attempt; None for no limit.
    """

    attempts: int = 3
    backoff_s: float = 2.0
    seconds: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What to write down.

    Attributes:
        state: of the job.
        outcome: of the attempt.
        counts: whether it is one of the attempts that a job has.
        wait_s: before the next one.
        low_memory: whether the next one has the machine to itself.
        ends_worker: whether its process is ended, which gives all of its memory back.
    """

    state: str
    outcome: str
    counts: bool = True
    wait_s: float = 0.0
    low_memory: bool = False
    ends_worker: bool = False


def verdict(row: Row, how: str, limits: Limits) -> Verdict:
    """Of an attempt at a job.

    Args:
        how: a ``work.kind_of``, ``died``, ``stopped`` or ``took too long``.
    """
    outcome, attempts = _OUTCOMES.get(how, how), row.attempts + 1
    wait_s = min(_LONGEST_BACKOFF_S, limits.backoff_s * 2 ** (attempts - 1))
    if how == "input":
        return Verdict("failed", outcome, counts=False, low_memory=row.low_memory)
    if how in ("stopped", "busy"):
        wait_s = wait_s if how == "busy" else 0.0
        return Verdict("queued", outcome, counts=False, wait_s=wait_s, low_memory=row.low_memory)
    if how == "memory" and not row.low_memory:
        return Verdict("queued", outcome, low_memory=True, ends_worker=True)
    if attempts >= limits.attempts or how == "memory":
        return Verdict("set aside", outcome, low_memory=row.low_memory)
    return Verdict("queued", outcome, wait_s=wait_s, low_memory=row.low_memory)
