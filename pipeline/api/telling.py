"""What a call tells of its progress: an event for everything that a terminal would show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from ...configs.stopping import check_stop
from ..run.progress import Advance


@dataclass(frozen=True)
class Event:
    """Something that happened in a call.

    Attributes:
        kind: a stage began, made a step of a task, said something, or ended.
        stage: its name; empty before the first.
        text: the task's name, the notice, or how the stage ended.
        done: steps made of the task, of ``total``.
    """

    kind: Literal["started", "step", "notice", "ended"]
    stage: str
    text: str = ""
    done: int = 0
    total: int = 0


OnEvent = Callable[[Event], None]


class Told:
    """A ``Reporter`` that hands everything on to a function."""

    def __init__(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event or (lambda event: None)
        self._stage = ""

    def task(self, description: str, total: int) -> Advance:
        """Tell each step of the task."""
        check_stop()
        stage, done = self._stage, 0

        def advance(n: int = 1) -> None:
            nonlocal done
            check_stop()
            done += n
            self._on_event(Event("step", stage, description, done, total))

        return advance

    def notice(self, sentence: str) -> None:
        """Tell the sentence."""
        self._on_event(Event("notice", self._stage, sentence))

    def stage_started(self, name: str) -> None:
        """Tell the stage's name."""
        self._stage = name
        self._on_event(Event("started", name))

    def stage_ended(self, name: str, outcome: str) -> None:
        """Tell how it went."""
        self._on_event(Event("ended", name, outcome))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
