"""What a person sees while a run works: always on stderr, so that stdout holds results only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Protocol, Self

from ...configs.stopping import check_stop

Advance = Callable[..., None]


class Progress(Protocol):
    """What a stage may say. ``task`` opens a named bar and returns ``advance(n=1)``."""

    def task(self, description: str, total: int) -> Advance:
        """Announce ``total`` steps of work; call what it returns after each: it raises ``Stopped`` after Ctrl-C."""
        ...

    def notice(self, sentence: str) -> None:
        """Tell the user something that does not stop the run."""
        ...


class Reporter(Progress, Protocol):
    """Progress, plus what only the pipeline says."""

    def stage_started(self, name: str) -> None:
        """A stage begins to run."""
        ...

    def stage_ended(self, name: str, outcome: str) -> None:
        """A stage is over: ``12.3 s``, ``kept``."""
        ...


class Quiet:
    """Shows nothing and remembers the notices: for tests and for use as a library."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def task(self, description: str, total: int) -> Advance:
        """Accept the steps and show nothing."""
        return lambda n=1: check_stop()

    def notice(self, sentence: str) -> None:
        """Remember the sentence."""
        self.notices.append(sentence)

    def stage_started(self, name: str) -> None:
        """Show nothing."""

    def stage_ended(self, name: str, outcome: str) -> None:
        """Show nothing."""


class Lines:
    """One line per event and a line every few seconds of long work: for logs and pipes."""

    def __init__(self, stream: IO[str] | None = None, *, every_s: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._every_s = every_s
        self._stage = ""

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def task(self, description: str, total: int) -> Advance:
        """Count the steps; tell every ``every_s`` seconds where they are and how long the rest may take."""
        check_stop()
        start = said = time.monotonic()
        done = 0

        def advance(n: int = 1) -> None:
            nonlocal done, said
            check_stop()
            done += n
            now = time.monotonic()
            if now - said >= self._every_s and done < total:
                said = now
                left_s = (now - start) / done * (total - done)
                self._say(f"{self._stage}: {description} {done}/{total}, about {left_s:.0f} s left")

        return advance

    def notice(self, sentence: str) -> None:
        """Print the sentence."""
        self._say(f"note: {sentence}")

    def stage_started(self, name: str) -> None:
        """Print the stage's name."""
        check_stop()
        self._stage = name
        self._say(f"{name} ...")

    def stage_ended(self, name: str, outcome: str) -> None:
        """Print how it went."""
        self._say(f"{name}: {outcome}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Bars(Lines):
    """A bar with the time left for each task: for terminals."""

    def __init__(self) -> None:
        super().__init__()
        from rich import progress
        from rich.console import Console

        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=4,  # the cores belong to the work
        )

    def _say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)

    def task(self, description: str, total: int) -> Advance:
        """Open a bar ``stage: description``."""
        check_stop()
        bar = self._progress.add_task(f"{self._stage}: {description}", total=total)

        def advance(n: int = 1) -> None:
            check_stop()
            self._progress.advance(bar, n)

        return advance

    def stage_started(self, name: str) -> None:
        """Name the stage on the bars to come."""
        check_stop()
        self._stage = name

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def for_terminal() -> Lines:
    """Bars where stderr is a terminal, lines where it is a file or a pipe."""
    return Bars() if sys.stderr.isatty() else Lines()
