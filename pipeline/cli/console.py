"""From errors to exit codes: 0 done, 1 failed, 2 bad input, 128 + signal when stopped. One sentence, no traceback."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

import typer
from typer.core import TyperGroup

from ...configs.errors import BadInput, SlipcastError
from ...configs.paths import shortened
from ...configs.stopping import asked_to_stop, check_stop
from ..run.signals import stop_on_signals

_UsageError: Any = typer.BadParameter.__base__  # click's, which typer brings along under changing names
STOPPED = "stopped; nothing finished is lost, and the same command goes on from here"


class PartlyFailed(SlipcastError):
    """Part of what was asked for failed; ``told`` is the command's JSON object about the rest."""

    def __init__(self, sentence: str, told: Mapping[str, Any]) -> None:
        super().__init__(sentence)
        self.told = dict(told)


@contextlib.contextmanager
def exit_codes(*, debug: bool, as_json: bool = False, at_once: bool = False) -> Iterator[None]:
    """Run a command's body; end the process with one sentence on stderr if it fails or is stopped by a signal.

    Whatever fails after Ctrl-C or SIGTERM counts as stopped: it fails because of it.

    Args:
        as_json: print {"error": sentence} on stdout too.
        at_once: the first signal interrupts the body wherever it is, instead of asking it to stop.
    """
    with stop_on_signals(at_once=at_once):
        try:
            yield
            check_stop()
            if sys.stdout is not None:  # None where it is closed
                sys.stdout.flush()  # here, where it can be told, and not when Python ends
        except (typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            sentence, code = _told(error)
            if debug:
                traceback.print_exception(error, file=sys.stderr)
            if _is_of_stdout(error):
                _give_up_stdout()
            elif as_json:
                print(json.dumps(getattr(error, "told", {}) | {"error": sentence}))
            print(f"slipcast: {sentence}", file=sys.stderr)
            raise typer.Exit(code) from None


def _told(error: BaseException) -> tuple[str, int]:
    """(sentence, exit code) of an error."""
    if isinstance(error, KeyboardInterrupt) or asked_to_stop():
        return STOPPED, 128 + (asked_to_stop() or signal.SIGINT)
    if isinstance(error, SlipcastError):
        return str(error), 2 if isinstance(error, BadInput) else 1
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # of any path that any option gives
        return (
            f"the path {shortened(error.filename or '')} is longer than this system takes; use a shorter one",
            2,
        )
    if _is_of_stdout(error):
        return f"the result cannot be printed ({error.strerror}), but all that was made is on the disk", 1
    reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
    return f"failed unexpectedly ({type(error).__name__}: {reason}); --debug shows where", 1


def _is_of_stdout(error: BaseException) -> TypeGuard[OSError]:
    """Whether the reader of a pipe has gone, or the disk below stdout is full; errors of files name their file."""
    return (
        isinstance(error, OSError) and error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC)
    )


def _give_up_stdout() -> None:
    """Let what is still buffered go nowhere, or Python would fail over it once more."""
    with contextlib.suppress(OSError, ValueError):  # a stream in memory has no number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class Commands(TyperGroup):
    """The commands of ``slipcast``; wrong usage of one with ``--json`` is told on stdout too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember whether JSON is asked for, before anything can be wrong with the rest."""
        ctx.obj = {"json": "--json" in args}
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what is wrong with its options is told on stderr by whoever called."""
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            if ctx.obj["json"]:
                print(json.dumps({"error": error.format_message()}))
            raise
