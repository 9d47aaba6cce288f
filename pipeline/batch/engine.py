"""What works on jobs, as the driver sees it: places for workers, tasks that go in, events that come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .rows import Worker
from .work import Task


@dataclass(frozen=True)
class Event:
    """What a worker says, or what became of it.

    Kinds and their values: ``stage`` (stage, outcome "running" or how it went, seconds), ``step`` (stage, what, done,
    total), ``notice`` (text), ``loaded`` (models), ``done`` (what ``work.make_job`` returns), ``failed`` (how: a
    ``work.kind_of``; error; peak_mb), ``died`` (signal: the number of the signal that ended it, or None; why, starved:
    whether it is known that it was ended for want of memory).
    """

    place: int
    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """Workers that are replaced when they die. ``places`` is how many of them work at once."""

    places: int

    def leg(self, place: int) -> int:
        """Which leg of jobs the worker at a place makes (``batch.shares``)."""
        ...

    def ready(self, place: int) -> bool:
        """Whether the worker at a place can be given a task now; if not, it is being started."""
        ...

    def give(self, place: int, task: Task) -> Worker:
        """Let the worker at a place, which is ready, begin with a task."""
        ...

    def wait(self, timeout_s: float) -> list[Event]:
        """What happened, as soon as anything did; nothing, after that time."""
        ...

    def memory_mb(self, place: int) -> float:
        """Memory of the worker at a place and of what it started; 0 without one."""
        ...

    def end(self, place: int, *, gently: bool = False) -> None:
        """End the worker at a place, if there is one. It says nothing more; ``gently``: it writes down where it was."""
        ...

    def close(self, *, gently: bool = False) -> None:
        """End all workers."""
        ...
