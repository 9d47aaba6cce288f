"""Faults put into runs: kills, signals, full disks, damaged files. Nothing finished may be lost, and the same command
must finish with the bytes of a run that nobody disturbed.

python -m benchmarks.faults [--count 200] [--seed 0] [--trial N] [--starter-every 20] [--out benchmarks/results]

Every twentieth trial works with the starter's models at the smallest settings, the others with quick stages of the same
pipeline. ``--trial N`` does one of them again. Needs a POSIX system, for it forks.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from slipcast.pipeline.stages.table import STAGES

from .disturbed_run import Command, finished_stages, found_in, make_here, results
from .fault_kinds import KINDS, Trial, Undisturbed
from .machine import report


def attempt(trial: Trial, kind: str) -> None:
    """One fault, and the same command after it."""
    finished = kind == "damage, finished"
    trial.start_with(len(STAGES) if finished else trial.draw.randrange(len(STAGES)))
    before = finished_stages(trial.run)
    KINDS[kind](trial)
    there = finished_stages(trial.run)
    lost = before - there - trial.damaged
    trial.expect(not lost, f"{sorted(lost)} were finished and are lost")
    code, said = trial.command().end()
    if (
        code == 2 and str(trial.run) in said
    ):  # a manifest that says something else: the sentence says what to do
        (trial.run / "manifest.json").unlink(missing_ok=True)
        code, said = trial.command().end()
    trial.expect(code == 0, f"the same command ended with {code}: {said[-600:]}")
    if code == 0:
        _check_finished(trial, there)


def _check_finished(trial: Trial, there: set[str]) -> None:
    made = results(trial.run)
    wrong = sorted(name for name, value in trial.as_it_should_be.results.items() if made.get(name) != value)
    trial.expect(not wrong and len(made) == len(trial.as_it_should_be.results), f"other results: {wrong}")
    names = [path.relative_to(trial.run).as_posix() for path in trial.run.rglob("*")]
    left = [name for name in names if name.endswith((".tmp", ".partial", ".old", ".key"))]
    trial.expect(not left, f"left behind: {left}")
    people = len([name for name in names if name.endswith("mine.blend")])
    expected = len(STAGES) - trial.unfinished + 1 if trial.unfinished < len(STAGES) else 0
    trial.expect(people == expected, f"{people} of {expected} files by hand are there")
    again = trial.command()
    trial.expect(again.end()[0] == 0 and results(trial.run) == made, "once more, the command ends otherwise")
    trial.expect(there <= finished_stages(trial.run), "stages that were finished are not any more")


def undisturbed(out: Path, *, real: bool) -> Undisturbed:
    """A run that nobody disturbs; a first one warms this process up, and must equal it."""
    make_here(out / "first", real=real)
    start = time.perf_counter()
    code, said = Command(out / "second", real=real).end()
    seconds = time.perf_counter() - start
    if code != 0:
        raise RuntimeError(f"an undisturbed run ended with {code}: {said}")
    made = results(found_in(out / "second"))
    if results(found_in(out / "first")) != made:
        raise RuntimeError("two undisturbed runs differ")
    return Undisturbed(found_in(out / "second"), made, seconds)


def try_all(
    count: int, seed: int, folder: Path, *, only: int | None = None, starter_every: int = 20
) -> dict[str, Any]:
    """The figures of so many trials; ``starter_every`` = 0 leaves the starter's models out."""
    torch.set_num_threads(1)  # a process with a pool of threads cannot be forked; see ``main`` too
    good: dict[bool, Undisturbed] = {}
    right, wrong = collections.Counter[str](), list[dict[str, Any]]()
    for number in range(count) if only is None else [only]:
        real = bool(starter_every) and number % starter_every == 0
        if real not in good:
            good[real] = undisturbed(folder / f"undisturbed-{real}", real=real)
        draw = random.Random(f"{seed} {number}")
        kind = draw.choice(list(KINDS))
        trial = Trial(number, real, folder / "runs", good[real], draw)
        attempt(trial, kind)
        where = f"{kind}, {'starter' if real else 'quick stages'}"
        if trial.problems:
            wrong.append({"trial": number, "kind": where, "problems": trial.problems})
            print(f"{number}: {where}: {trial.problems}", file=sys.stderr, flush=True)
        else:
            right[where] += 1
            print(f"{number}: {where}: right", file=sys.stderr, flush=True)
    faults = sum(right.values()) + len(wrong)
    return {"seed": seed, "faults": faults, "right": dict(sorted(right.items())), "wrong": wrong}


def main() -> None:
    """Try and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trial", type=int)
    parser.add_argument("--starter-every", type=int, default=20, help="0 leaves the starter's models out")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = try_all(
            given.count, given.seed, Path(folder), only=given.trial, starter_every=given.starter_every
        )
    if given.trial is None:
        report("faults", figures, given.out)
    else:
        print(figures)


if __name__ == "__main__":
    if (
        os.environ.get("OMP_NUM_THREADS") != "1"
    ):  # some library's import may have begun a pool already: once more
        arguments = [sys.executable, "-m", "benchmarks.faults", *sys.argv[1:]]
        os.execve(sys.executable, arguments, os.environ | {"OMP_NUM_THREADS": "1"})
    main()
