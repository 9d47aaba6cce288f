"""Ctrl-C and SIGTERM: one handler that asks for a stop, and what becomes of a second one.

The first signal only sets the flag of ``configs.stopping``. Every beginning of a stage and every step of a progress bar
looks at it, so a command stops after the step at work: a denoising or refinement step, a picture, a map. The longest
steps without a callback are cold imports of torch and diffusers together with loading a model (5 to 10 s, a minute on
a busy machine), packing of a large atlas and the first compilation of a loop (up to about 20 s). Blender, which is a
process of its own, is ended at once. Whoever cannot wait signals again: the second signal raises where the program is,
the third one kills.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ...configs.stopping import Stopped, ask_to_stop, asked_to_stop, forget

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stop_on_signals(*, at_once: bool = False, patient: bool = False) -> Iterator[None]:
    """Within this block SIGINT and SIGTERM ask for a stop, even where the shell that started us ignored them.

    Only the main thread may set handlers; elsewhere, and inside of another such block, this does nothing.

    Args:
        at_once: raise ``Stopped`` at the first signal, for work without steps, such as waiting for a network.
        patient: later signals change nothing, for a worker whose driver kills it when it takes too long.
    """
    inside = any(isinstance(signal.getsignal(one), _Handler) for one in STOPPING)
    if (inside and not at_once) or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.signal(one, _Handler(at_once, patient)) for one in STOPPING}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, signal.SIG_DFL if handler is None else handler)  # None: not set from Python
        if not inside:
            forget()


class _Handler:
    def __init__(self, at_once: bool, patient: bool) -> None:
        self._at_once, self._patient = at_once, patient

    def __call__(self, number: int, frame: FrameType | None) -> None:
        first = asked_to_stop() is None
        if self._patient and not first:
            return
        if first:
            _end_workers()
            ask_to_stop(number)
        else:
            for one in STOPPING:
                signal.signal(one, signal.SIG_DFL)  # a third one ends the process whatever it does
        if self._at_once or not first:
            raise Stopped(f"stopped by {signal.Signals(number).name}")


def _end_workers() -> None:
    """End the processes of pools and trainings, which wait for each other and for nobody else."""
    multiprocessing: Any = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None:
        for worker in multiprocessing.active_children():
            worker.terminate()
