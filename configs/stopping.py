"""Whether this process was asked to stop: a flag that long work looks at between its steps.

Nothing is interrupted from outside, because an exception that falls into an import or a C extension leaves modules half
made. ``pipeline.run.signals`` sets the flag; progress callbacks look at it.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

_asked: list[int] = []  # the first signal that asked, if any
_waiting: list[Callable[[], None]] = []


class Stopped(KeyboardInterrupt):
    """Work ended because a signal asked for it; like Ctrl-C itself, no ``except Exception`` catches it."""


def asked_to_stop() -> int | None:
    """The number of the signal that asked this process to stop; None if none did."""
    return _asked[0] if _asked else None


def check_stop() -> None:
    """Raise ``Stopped`` if this process was asked to stop. Cheap enough for every step of a loop."""
    if _asked:
        raise Stopped(f"stopped by {signal.Signals(_asked[0]).name}")


@contextlib.contextmanager
def when_stopped(act: Callable[[], None]) -> Iterator[None]:
    """Within this block, do ``act`` at once when asked to stop: end what the block waits for, such as a program.

    ``act`` runs in the main thread between any two of its instructions, so it must take no lock and wait for nothing.
    """
    _waiting.append(act)
    try:
        check_stop()
        yield
    finally:
        _waiting.remove(act)


def ask_to_stop(number: int) -> None:
    """Set the flag for a signal's number and end what is waited for."""
    _asked.append(number)
    for act in list(_waiting):
        act()


def forget() -> None:
    """Take the request back: the command that it was meant for is over."""
    _asked.clear()
