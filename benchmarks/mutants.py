"""How many small faults do the tests notice? One mutant at a time, in a copy of the source tree.

    python -m benchmarks.mutants guidance refine [--sample 100] [--seed 0] [--match TEXT] [--out benchmarks/results]

A room's mutants are all single changes of operators, constants, conditions, minima and maxima, returns and statements
(``benchmarks.mutations``); a sample of them, drawn with the seed, is tried in the order drawn, so that the first n are
a sample too (Ctrl-C ends a room there). A mutant is killed if a test of its room that calls its function fails or runs
out of time, the module's own test file first, then the quicker ones. Tests run in forks of a process that has the heavy
libraries imported, so that a mutant costs no more than its tests.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from .machine import report
from .mutations import Mutant, mutants_of

ROOT = Path(__file__).parents[1]
COPIED, LINKED = ("configs", "guidance", "systems", "pipeline"), ("starter",)
_HEAVY = ("torch", "numpy", "scipy.ndimage", "diffusers", "transformers", "numba", "pytest")
_SLACK = 30.0  # seconds: compiling a mutated kernel takes some

EQUIVALENT = {
    "systems/refine/regularisers.py _pairs: weight > 0 -> weight >= 0": "a pair of weight 0 adds 0",
    "systems/refine/surface_colour.py surface_points_by_torch: raw_density.abs() < _REACH_CELLS * cell * steep -> "
    "raw_density.abs() <= _REACH_CELLS * cell * steep": "a cell just so far off is left out in the end",
    "systems/refine/surface_colour.py surface_points_by_torch: feet.abs() <= 1 -> feet.abs() < 1": "of probability 0",
    "systems/refine/connectivity.py _ways: raw > 0 -> raw >= 0": "a cell of exactly 0 hardly is",
    "systems/refine/noise.py _direction: 2 * math.pi -> 4 * math.pi": "bins of other numbers, as many",
    "guidance/algebra.py coefficients: abs(value) < _ROUNDING -> abs(value) <= _ROUNDING": "no such weight",
    "guidance/balance.py balanced_weights: abs(sum(shares) - 1) > 1e-06 -> abs(sum(shares) - 1) >= 1e-06": "no such",
    "guidance/mixture.py toy_figures: distance > OUTSIDE -> distance >= OUTSIDE": "of probability 0",
}
"""Mutants, as ``Mutant.name`` gives them without the line, that no test can kill, and why."""


def main() -> None:
    """Print and keep what was killed and what survived."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rooms", nargs="+", help="guidance, or a room of systems or pipeline")
    parser.add_argument("--sample", type=int, help="mutants per room; all if left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--match", default="", help="only mutants whose line of the output contains this")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # a fork of a process with threads would wait for them for ever
    for name in _HEAVY:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as scratch:
        tree = copy_of_the_rooms(Path(scratch))
        found = {room: try_room(room, tree, given) for room in given.rooms}
    report("mutants", {"sample": given.sample, "seed": given.seed, "rooms": found}, given.out.resolve())


def copy_of_the_rooms(scratch: Path) -> Path:
    """The rooms as the package ``slipcast`` in a folder that is looked at before the installed one."""
    tree = scratch / "slipcast"
    for room in COPIED:
        shutil.copytree(ROOT / room, tree / room)
    for room in LINKED:
        (tree / room).symlink_to(ROOT / room)
    return tree


def folder_of(room: str) -> Path:
    """Where a room lies in the source tree."""
    places = [Path(room), Path("systems", room), Path("pipeline", room)]
    return next(place for place in places if (ROOT / place).is_dir())


def try_room(room: str, tree: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Counts of a room's sample, and the survivors by name."""
    folder = folder_of(room)
    every = [mutant for path in sorted((tree / folder).rglob("*.py")) for mutant in mutants_of(path, tree)]
    drawn = random.Random(given.seed).sample(every, min(given.sample or len(every), len(every)))
    tried = [m for m in drawn if given.match in m.name and m.name_without_line not in EQUIVALENT]
    tests = [look_at_tests(path, tree) for path in sorted((ROOT / "tests" / folder).glob("test_*.py"))]
    survivors, number = [], 0
    with contextlib.suppress(KeyboardInterrupt):  # what was tried up to then is told
        for mutant in tried:
            killed = try_mutant(mutant, tests, tree)
            number += 1
            print(f"{number}/{len(tried)} {'killed  ' if killed else 'SURVIVED'} {mutant.name}", flush=True)
            survivors += [] if killed else [mutant.name]
    killed = number - len(survivors)
    return {
        "mutants": len(every),
        "tried": number,
        "equivalent": sum(mutant.name_without_line in EQUIVALENT for mutant in drawn),
        "killed": killed,
        "killed_share": round(killed / max(1, number), 3),
        "survivors": survivors,
    }


@dataclass(frozen=True)
class TestFile:
    """A test file, how long it takes on the unchanged source, and the functions that it calls, as "path:name"."""

    path: Path
    seconds: float
    calls: frozenset[str]


def look_at_tests(path: Path, tree: Path) -> TestFile:
    """Run a test file once without any mutant.

    Raises:
        SystemExit: it fails.
    """
    start, calls = time.monotonic(), tree.parent / "calls.json"
    if run_tests([path], tree, 600, calls):
        raise SystemExit(f"{path.relative_to(ROOT)} fails on the unchanged source; mend that first")
    return TestFile(path, time.monotonic() - start, frozenset(json.loads(calls.read_text())))


def try_mutant(mutant: Mutant, tests: list[TestFile], tree: Path) -> bool:
    """Whether a test fails, or time runs out, with the mutant in the place of its module."""
    calling = [test for test in tests if f"{mutant.path}:{mutant.function}" in test.calls]
    # Constants of a module and compiled kernels are nobody's calls: whoever calls anything of the file may use them.
    near = calling or [
        test for test in tests if any(call.startswith(f"{mutant.path}:") for call in test.calls)
    ]
    order = sorted(near, key=lambda test: (mutant.path.stem not in test.path.stem, test.seconds))
    path, original = tree / mutant.path, (tree / mutant.path).read_bytes()
    times = path.stat()
    path.write_text(mutant.source())
    try:
        limit = 3 * sum(test.seconds for test in near) + _SLACK
        return bool(near) and run_tests([test.path for test in order], tree, limit)
    finally:
        path.write_bytes(original)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # what is compiled of it stays valid


def run_tests(paths: list[Path], tree: Path, limit: float, calls: Path | None = None) -> bool:
    """Whether a test of these files fails or they take longer than ``limit`` seconds; in a process of its own.

    calls: where to write the functions of the tree that were called.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        os._exit(_tests_in_this_process(paths, tree, calls))
    end, done, status = time.monotonic() + limit, 0, 0
    try:
        while not done and time.monotonic() < end:
            time.sleep(0.05)
            done, status = os.waitpid(child, os.WNOHANG)
    finally:
        if not done:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return not done or status != 0


def _tests_in_this_process(paths: list[Path], tree: Path, calls: Path | None) -> int:
    """Run pytest on the copied tree; only ever in a fork."""
    import pytest

    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os.chdir(ROOT)
    os.environ["PYTHONPATH"] = str(tree.parent)  # for tests that start a process
    sys.path.insert(0, str(tree.parent))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    # Examples that hypothesis remembers of one mutant would be tried on the next one first.
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp(dir=tree.parent)
    # pytest's plugins among the heavy libraries' own imports came too early for it, which is of no concern here.
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    called: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(f"{tree}/"):
            called.add(f"{frame.f_code.co_filename[len(f'{tree}/') :]}:{frame.f_code.co_name}")

    if calls is None:
        return int(pytest.main([*options, *map(str, paths)]))
    sys.setprofile(note)
    failed = int(pytest.main([*options, *map(str, paths)]))
    sys.setprofile(None)
    calls.write_text(json.dumps([name for name in called if not name.endswith(":<module>")]))
    return failed


if __name__ == "__main__":
    main()
