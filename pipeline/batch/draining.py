"""Ctrl-C on a batch: the first one lets the jobs at work end and begins no others, the second one stops them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from ...configs.stopping import ask_to_stop
from ..run.signals import STOPPING, stop_on_signals


class Drain:
    """Whether somebody asked for an end, and by which signal."""

    def __init__(self) -> None:
        self.asked: int | None = None


@contextlib.contextmanager
def draining(drain: Drain | None = None) -> Iterator[Drain]:
    """Within this block the first SIGINT or SIGTERM is noted, the next one asks for a stop (``stopping``).

    A third one is as the second is elsewhere. Only the main thread may set handlers; in others nothing is ever asked.
    """
    drain = drain or Drain()
    with stop_on_signals():
        if threading.current_thread() is not threading.main_thread():
            yield drain
            return
        before = {one: signal.getsignal(one) for one in STOPPING}

        def restore() -> None:
            for one, handler in before.items():
                signal.signal(one, handler)

        def handle(number: int, frame: FrameType | None) -> None:
            if drain.asked is None:
                drain.asked = number
            else:
                restore()
                ask_to_stop(number)

        for one in STOPPING:
            signal.signal(one, handle)
        try:
            yield drain
        finally:
            restore()
