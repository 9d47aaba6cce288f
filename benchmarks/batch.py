"""What batches gain and cost: two workers against one, what is not work, what warmth saves, and killing at random.

python -m benchmarks.batch [--fake] [--jobs 24] [--kills 30] [--config smoke] [--only speed|kills] [--out FOLDER]

``--fake`` lets workers run stages that sleep for a known time (tests/fakes/batch_work.py) instead of the starter's: it
measures the driver alone, and needs no quiet machine.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from slipcast.pipeline.batch.ledger import Ledger, ledger_folder, open_ledger

from .machine import report
from .prompts import prompt

ROOT = Path(__file__).parents[1]
NOUNS = ("teapot", "vase", "bowl", "cup", "mug", "jug", "plate", "bottle")


def main() -> None:
    """Run what is asked for, each batch in a folder of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fake", action="store_true")
    parser.add_argument("--jobs", type=int, default=24)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--config", default="smoke")
    parser.add_argument("--only", choices=("speed", "kills"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    figures: dict[str, Any] = {"jobs": given.jobs, "stages": "sleeping" if given.fake else given.config}
    with tempfile.TemporaryDirectory() as name:
        bench = _Bench(Path(name), fake=given.fake, jobs=given.jobs, config=given.config)
        if given.only != "kills":
            one, two = bench.timed("one", workers=1), bench.timed("two", workers=2)
            figures |= {"one worker": one, "two workers": two}
            figures["speed-up"] = round(one["seconds"] / two["seconds"], 2)
        if given.only != "speed":
            figures["killed"] = bench.killed(given.kills)
    report("batch_fake" if given.fake else "batch", figures, given.out)


class _Bench:
    def __init__(self, folder: Path, *, fake: bool, jobs: int, config: str) -> None:
        self.folder, self.config = folder, config
        program = (
            [str(ROOT / "tests/fakes/batch_program.py")] if fake else ["-m", "slipcast.pipeline.cli.app"]
        )
        self.program = [sys.executable, *program, "batch"]
        lengths = itertools.cycle((0.05, 0.1, 0.2, 0.1))
        nouns = itertools.cycle(NOUNS)
        lines = [
            {"prompt": f"sleep {next(lengths)} {next(nouns)}", "seed": seed}
            if fake
            else {"prompt": prompt(next(nouns)), "seed": seed, "refine.steps": 2 + 4 * (seed % 3)}
            for seed in range(jobs)
        ]
        self.text = "\n".join(map(json.dumps, lines))

    def start(self, name: str, workers: int) -> subprocess.Popen[str]:
        """A batch in a folder of that name; every worker has one thread."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "jobs.jsonl").write_text(self.text)
        command = [*self.program, "jobs.jsonl", "--config", self.config, "--workers", str(workers)]
        return subprocess.Popen(
            [*command, "--attempts", "100", "--json"],
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
        jobs = self.folder / name / "jobs.jsonl"
        with open_ledger(ledger_folder(jobs, jobs.parent / "runs")) as ledger:
            return {"seconds": round(seconds, 2)} | _told(ledger)

    def killed(self, kills: int) -> dict[str, Any]:
        """Kill driver or workers at random until there is nothing to kill; compare with a batch left in peace."""
        self.ended(self.start("quiet", 2), "quiet")
        draw, done, process = random.Random(0), 0, self.start("killed", 2)
        while done < kills:
            time.sleep(draw.uniform(0.05, 0.8))
            if process.poll() is not None:
                process.communicate()
                if process.returncode == 0:
                    break
                process = self.start("killed", 2)
            victim = psutil.Process(process.pid)
            workers = [one for one in victim.children() if "spawn_main" in " ".join(one.cmdline())]
            (draw.choice(workers) if workers and draw.random() < 0.6 else victim).kill()
            done += 1
        process.communicate()
        self.ended(self.start("killed", 2), "killed")
        jobs = self.folder / "killed" / "jobs.jsonl"
        with open_ledger(ledger_folder(jobs, jobs.parent / "runs")) as ledger:
            times_done = Counter(
                sum(attempt["outcome"] == "done" for attempt in ledger.attempts(row.key))
                for row in ledger.rows()
            )
        return {
            "kills": done,
            "jobs by times done": dict(times_done),
            "results equal to a quiet run's": self.results("killed") == self.results("quiet"),
        }

    def results(self, name: str) -> dict[str, str]:
        """Hashes of what stages made; records and reports hold times."""
        runs = self.folder / name / "runs"
        found = (path for path in runs.glob("*-*/??-*/**/*") if path.is_file() and path.name != "stage.json")
        return {
            str(path.relative_to(runs)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in found
            if not path.name.startswith(".")
        }


def _told(ledger: Ledger) -> dict[str, Any]:
    """What of the workers' time was work, how long the first stage of a job waited, and loads a process.

    A job's overhead is its attempt's time less its stages'; a worker's first job is cold: imports, loading, compiling.
    """
    cold: list[float] = []
    warm: list[float] = []
    seen: set[int] = set()
    work = overhead = 0.0
    rows = sorted(ledger.rows(), key=lambda row: ledger.attempts(row.key)[-1]["started"])
    for row in rows:
        attempt = ledger.attempts(row.key)[-1]
        stages = sum(stage["seconds"] for stage in attempt["stages"])
        rest = attempt["ended"] - attempt["started"] - stages
        if attempt["pid"] in seen:
            warm.append(rest)
            work += stages
            overhead += rest
        else:
            cold.append(rest)
        seen.add(attempt["pid"])
    mean_cold, mean_warm = sum(cold) / len(cold), sum(warm) / max(1, len(warm))
    return {
        "overhead of warm jobs": round(overhead / work, 4) if work else None,
        "cold start s": round(mean_cold, 2),
        "warm start s": round(mean_warm, 3),
        "saved by being warm": round(1 - mean_warm / mean_cold, 3),
        "loads of a model by a process": sorted({load["times"] for load in ledger.loads()}),
    }


if __name__ == "__main__":
    main()
