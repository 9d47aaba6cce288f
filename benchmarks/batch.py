"""What batches gain and cost: two workers against one and against a shell loop, what is not work, what warmth saves.

python -m benchmarks.batch [--fake] [--jobs 24] [--config smoke] [--out FOLDER]    writes batch.json
python -m benchmarks.batch --kills 30 [--ray] [--fake] [--jobs 24]                 batch_kills.json, ..._kills_ray.json

The second kills driver, workers and, with ``--ray``, the processes of Ray at random moments until there were as many
kills, starts the same command each time, and compares with a batch left in peace. ``--fake`` lets workers run stages
that sleep for a known time (tests/fakes/batch_work.py) instead of the starter's: it measures the driver alone, and
needs no quiet machine.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from slipcast.pipeline.batch.ledger import Ledger, ledger_folder, open_ledger

from .batch_kills import killed
from .machine import report
from .prompts import prompt

ROOT = Path(__file__).parents[1]
NOUNS = ("teapot", "vase", "bowl", "cup", "mug", "jug", "plate", "bottle")
TARGETS = {"two workers against one": 1.7, "overhead outside stages": 0.02, "saved by being warm": 0.9}
# Imports and loading as a worker does them for its first job and for its second; what stages do is not in it.
WARMTH = """
import json, sys, time
begun = time.perf_counter()
from slipcast.configs.loading import load_config
from slipcast.pipeline.batch.work import ModelShelf
from slipcast.pipeline.make import as_began, filled_in
import slipcast.pipeline.stages.image, slipcast.pipeline.stages.lift, slipcast.pipeline.stages.refine
import slipcast.pipeline.stages.mesh, slipcast.pipeline.stages.paint, slipcast.pipeline.stages.export
shelf, seconds = ModelShelf(), []
for steps in (2, 6):
    config = load_config(sys.argv[1], [f"refine.steps={steps}"])
    store = shelf.open(config)
    config = as_began(filled_in(config, store, print), None)
    store = shelf.open(config)
    store.base, store.domain
    seconds.append(time.perf_counter() - begun)
    begun = time.perf_counter()
print(json.dumps(seconds))
"""


def main() -> None:
    """Run what is asked for, each batch in a folder of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fake", action="store_true")
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--config", default="smoke")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    about: dict[str, Any] = {"jobs": given.jobs, "stages": "sleeping" if given.fake else given.config}
    name = "batch_fake" if given.fake else "batch"
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), fake=given.fake, jobs=given.jobs, config=given.config, ray=given.ray)
        if given.kills:
            kind = "_kills_ray" if given.ray else "_kills"
            report(name + kind, about | killed(bench, given.kills), given.out)
        else:
            report(name, about | _speed(bench), given.out)


def _speed(bench: Bench) -> dict[str, Any]:
    one, two = bench.timed("one", workers=1), bench.timed("two", workers=2)
    figures: dict[str, Any] = {"one worker of one thread": one, "two workers of one thread": two}
    figures["two workers against one"] = round(one["seconds"] / two["seconds"], 2)
    reached = {
        "two workers against one": figures["two workers against one"] >= TARGETS["two workers against one"],
        "overhead outside stages": one["overhead outside stages"] <= TARGETS["overhead outside stages"],
        "each model loaded once per process": two["loads of a model by a process"] in ([], [1]),
    }
    if not bench.fake:
        loop, warmth = bench.shell_loop(), bench.warmth()
        figures |= {"shell loop of two threads s": loop, "warmth": warmth}
        reached["not slower than a shell loop of two threads"] = two["seconds"] <= loop
        reached["saved by being warm"] = warmth["saved by being warm"] >= TARGETS["saved by being warm"]
    return figures | {"targets": TARGETS, "reached": reached}


class Bench:
    """A job file, and commands that work on it; each name is a folder."""

    def __init__(self, folder: Path, *, fake: bool, jobs: int, config: str, ray: bool = False) -> None:
        self.folder, self.config, self.fake, self.ray = folder, config, fake, ray
        program = (
            [str(ROOT / "tests/fakes/batch_program.py")] if fake else ["-m", "slipcast.pipeline.cli.app"]
        )
        self.program = [sys.executable, *program]
        lengths = itertools.cycle((0.05, 0.1, 0.2, 0.1))
        nouns = itertools.cycle(NOUNS)
        self.lines: list[dict[str, Any]] = [
            {"prompt": f"sleep {next(lengths)} {next(nouns)}", "seed": seed}
            if fake
            else {"prompt": prompt(next(nouns)), "seed": seed, "refine.steps": 2 + 4 * (seed % 3)}
            for seed in range(jobs)
        ]

    def jobs_file(self, name: str) -> Path:
        """The job file of that name, written if it is not there yet."""
        path = self.folder / name / "jobs.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(map(json.dumps, self.lines)))
        return path

    def start(self, name: str, workers: int) -> subprocess.Popen[str]:
        """A batch in a folder of that name; every worker has one thread."""
        folder = self.jobs_file(name).parent
        command = [*self.program, "batch", "jobs.jsonl", "--config", self.config, "--workers", str(workers)]
        return subprocess.Popen(
            [*command, "--attempts", "100", "--json", *(["--ray", "local"] if self.ray else [])],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": str(workers), "HF_HUB_OFFLINE": "1"},
        )

    def ended(self, process: subprocess.Popen[str], name: str) -> dict[str, int]:
        """The counts of a batch that must be done."""
        counts = json.loads(process.communicate()[0])["counts"]
        if counts["done"] != sum(counts.values()):
            raise SystemExit(f"the batch {name} is not done: {counts}")
        return counts

    def timed(self, name: str, *, workers: int) -> dict[str, Any]:
        """Seconds from the command to its end, and what the ledger says of them."""
        began = time.perf_counter()
        self.ended(self.start(name, workers), name)
        seconds = time.perf_counter() - began
        with self.ledger(name) as ledger:
            return {"seconds": round(seconds, 2)} | _told(ledger)

    def ledger(self, name: str) -> Any:
        """The ledger of a batch, opened."""
        return open_ledger(ledger_folder(self.folder / name / "jobs.jsonl", self.folder / name / "runs"))

    def shell_loop(self) -> float:
        """Seconds of a ``slipcast make`` for each job, one after the other, each with two threads."""
        began = time.perf_counter()
        for line in self.lines:
            subprocess.run(
                [*self.program, "make", line["prompt"], f"refine.steps={line['refine.steps']}"]
                + ["--config", self.config, "--seed", str(line["seed"]), "--out", str(self.folder / "loop")],
                check=True,
                capture_output=True,
                env=os.environ | {"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"},
            )
        return round(time.perf_counter() - began, 2)

    def warmth(self) -> dict[str, float]:
        """Seconds of imports and loading for the first job of a process and for its second."""
        done = subprocess.run(
            [sys.executable, "-c", WARMTH, self.config],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
        cold, warm = json.loads(done.stdout.splitlines()[-1])
        return {
            "cold s": round(cold, 2),
            "warm s": round(warm, 3),
            "saved by being warm": round(1 - warm / cold, 3),
        }


def _told(ledger: Ledger) -> dict[str, Any]:
    """What of the workers' time was no work, and how often each loaded a model.

    Of each worker the time counts from the end of its first job, which is cold, to the end of its last one; what lies
    in it and in no stage is overhead, waiting for the driver included.
    """
    by_worker: dict[int, list[dict[str, Any]]] = {}
    for row in ledger.rows():
        for attempt in ledger.attempts(row.key):
            by_worker.setdefault(attempt["pid"], []).append(attempt)
    work = span = 0.0
    cold: list[float] = []
    for attempts in by_worker.values():
        attempts.sort(key=lambda attempt: attempt["started"])
        stages = [sum(stage["seconds"] or 0.0 for stage in attempt["stages"]) for attempt in attempts]
        cold.append(attempts[0]["ended"] - attempts[0]["started"] - stages[0])
        work += sum(stages[1:])
        span += attempts[-1]["ended"] - attempts[0]["ended"]
    return {
        "overhead outside stages": round((span - work) / work, 4) if work else None,
        "start of a worker outside stages s": round(sum(cold) / len(cold), 2),
        "loads of a model by a process": sorted({load["times"] for load in ledger.loads()}),
    }


if __name__ == "__main__":
    main()
