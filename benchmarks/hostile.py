"""Hostile inputs for every reader: a valid value or one clean sentence must come out, in bounded time and memory.

python -m benchmarks.hostile [--count 30000] [--seed 0] [--only READER] [--out benchmarks/results]

Each input is a valid file, mutated (``benchmarks.mutated``). Anything else than a value, ``BadInput`` or
``SlipcastError`` is a fault, and so are sentences of several lines, more than two seconds of processor time for an
input, and a process that grows by more than 256 MB while it is read.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from slipcast.configs.errors import BadInput, SlipcastError

from .hostile_readers import Reader, readers
from .machine import report

MOST_SECONDS = 2.0
MOST_MB = 256
_LONGEST_SENTENCE = 900
_NOTHING_LEFT = (
    ValueError,
    RecursionError,
    LookupError,
    OverflowError,
    struct.error,
)  # of a mutant to mutate again
_PER_FILE = 3  # mutations on top of one another, at most


class TooLong(BaseException):
    """The reader did not come back; nothing catches this."""


@dataclass(frozen=True)
class Outcome:
    """How an input ended: ``value``, ``refused``, ``failed``, or ``fault`` with what was wrong."""

    kind: str
    fault: str = ""
    seconds: float = 0.0


def outcome(read: Any) -> Outcome:
    """Read, and judge what comes out."""
    grown, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    kind, fault, printed = "value", "", io.StringIO()
    try:
        with _no_longer_than(5 * MOST_SECONDS), contextlib.redirect_stderr(printed):
            read()
    except SlipcastError as error:
        kind, fault = "refused" if isinstance(error, BadInput) else "failed", _not_clean(str(error))
    except (Exception, TooLong) as error:
        fault = f"{type(error).__name__}: {str(error)[:200]}"
    seconds = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown) / 1024
    if not fault and "Traceback" in printed.getvalue():
        fault = "it prints a traceback"
    if not fault and seconds > MOST_SECONDS:
        fault = f"it takes {seconds:.1f} s"
    if not fault and grown > MOST_MB:
        fault = f"it takes {grown:.0f} MB"
    return Outcome("fault" if fault else kind, fault, seconds)


def _not_clean(sentence: str) -> str:
    """What is wrong with a sentence; empty if nothing."""
    if not sentence.strip() or len(sentence) > _LONGEST_SENTENCE:
        return f"a sentence of {len(sentence)} characters: {sentence[:100]!r}"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in sentence):
        return f"control characters in the sentence {sentence[:200]!r}"
    return ""


@contextlib.contextmanager
def _no_longer_than(seconds: float) -> Iterator[None]:
    def give_up(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"not done after {seconds} s of processor time")

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def try_reader(reader: Reader, count: int, seed: int) -> dict[str, Any]:
    """The figures of so many inputs of one reader; its file is whole again afterwards."""
    found, faults, slowest, whole = collections.Counter[str](), dict[str, dict[str, Any]](), 0.0, 0.0
    for number in range(count):
        draw = random.Random(f"{seed} {reader.name} {number}")
        content = draw.choice(reader.valid)
        for _ in range(draw.randint(1, _PER_FILE)):
            with contextlib.suppress(*_NOTHING_LEFT):
                content = reader.mutate(draw, content)
        reader.file.write_bytes(content)
        ended = outcome(reader.read)
        found[ended.kind] += 1
        slowest, whole = max(slowest, ended.seconds), whole + ended.seconds
        if ended.fault:
            kept = faults.setdefault(ended.fault[:60], {"fault": ended.fault, "first": number, "times": 0})
            kept["times"] += 1
    reader.file.write_bytes(reader.valid[0])
    return {
        **found,
        "seconds": round(whole, 2),
        "slowest_s": round(slowest, 3),
        "faults": list(faults.values()),
    }


def try_all(count: int, seed: int, folder: Path, *, only: str | None = None) -> dict[str, Any]:
    """The figures of all readers; ``count`` inputs in all, or for the one of that name."""
    torch.set_num_threads(1)
    chosen = [reader for reader in readers(folder) if only in (None, reader.name)]
    whole = sum(reader.share for reader in chosen)
    for reader in chosen:  # imports, which take time and memory once
        reader.file.write_bytes(reader.valid[0])
        with contextlib.suppress(SlipcastError):
            reader.read()
    started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told: dict[str, Any] = {}
    for reader in chosen:
        told[reader.name] = try_reader(reader, max(1, -int(-count * reader.share // whole)), seed)
        print(f"{reader.name}: {told[reader.name]}", file=sys.stderr, flush=True)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started) / 1024
    kinds = ("value", "refused", "failed", "fault")
    total = {kind: sum(line.get(kind, 0) for line in told.values()) for kind in kinds}
    return {"seed": seed, "inputs": sum(total.values()), **total, "grown_mb": round(grown), "readers": told}


def main() -> None:
    """Try and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figures = try_all(given.count, given.seed, Path(folder), only=given.only)
    if given.only is None:
        report("hostile", figures, given.out)


if __name__ == "__main__":
    main()
