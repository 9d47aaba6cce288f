"""From errors to exit codes: 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C. One sentence, no traceback."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator

import typer

from ...configs.errors import BadInput, SlipcastError

STOPPED = "stopped; nothing finished is lost, and the same command goes on from here"


@contextlib.contextmanager
def exit_codes(*, debug: bool) -> Iterator[None]:
    """Run a command's body; end the process with one sentence on stderr if it fails."""
    try:
        yield
    except KeyboardInterrupt as error:
        _fail(STOPPED, 130, error, debug=debug)
    except SlipcastError as error:
        _fail(str(error), 2 if isinstance(error, BadInput) else 1, error, debug=debug)
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        _fail(
            f"failed unexpectedly ({type(error).__name__}: {reason}); --debug shows where",
            1,
            error,
            debug=debug,
        )


def _fail(sentence: str, code: int, error: BaseException, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    print(f"slipcast: {sentence}", file=sys.stderr)
    raise typer.Exit(code) from None
