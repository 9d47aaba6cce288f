"""kill -9 at random moments: of the driver, of its workers, and of the processes of Ray."""

from __future__ import annotations

import hashlib
import random
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from .batch import Bench

_HANGS_S = 900.0  # a batch that was left alone for so long will not end any more


def killed(bench: Bench, kills: int) -> dict[str, Any]:
    """Batch after batch, killed and started again until each is done, until there were as many kills."""
    bench.ended(bench.start("quiet", 2), "quiet")
    quiet = results(bench, "quiet")
    draw, victims = random.Random(0), Counter[str]()
    times_done, equal = Counter[int](), []
    while victims.total() < kills:
        name = f"killed-{len(equal)}"
        _disturb(bench, name, kills, draw, victims)
        with bench.ledger(name) as ledger:
            times_done += Counter(
                sum(attempt["outcome"] == "done" for attempt in ledger.attempts(row.key))
                for row in ledger.rows()
            )
        equal.append(results(bench, name) == quiet)
    return {
        "kills": victims.total(),
        "killed": dict(victims),
        "batches": len(equal),
        "jobs by times done": dict(times_done),
        "results equal to a quiet run's": all(equal),
        "files compared": len(quiet),
    }


def _disturb(bench: Bench, name: str, kills: int, draw: random.Random, victims: Counter[str]) -> None:
    """Kill at a batch, and start the same command again after a driver's death, until it is done."""
    process = bench.start(name, 2)
    while victims.total() < kills:
        time.sleep(draw.uniform(0.5, 12.0) if bench.ray else draw.uniform(0.05, 0.8 if bench.fake else 8.0))
        if process.poll() is not None:
            process.communicate()
            if process.returncode == 0:
                break
            process = bench.start(name, 2)
        elif (kind := _kill_one(process, draw)) is not None:
            victims[kind] += 1
    try:
        process.communicate(timeout=_HANGS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        victims["driver that hung"] += 1
    bench.ended(bench.start(name, 2), name)


def _kill_one(process: subprocess.Popen[str], draw: random.Random) -> str | None:
    """Kill the driver or one of the processes that it has started; which kind it was, None if it ended just now."""
    try:
        driver = psutil.Process(process.pid)
        found = {child: _kind(child) for child in driver.children(recursive=True)}
        others = [child for child, kind in found.items() if kind]
        victim = draw.choice(others) if others and draw.random() < 0.6 else driver
        kind = found.get(victim) or "driver"
        victim.kill()
    except psutil.Error:
        return None
    return kind


def _kind(child: psutil.Process) -> str | None:
    try:
        words = " ".join(child.cmdline())
    except psutil.Error:
        return None
    if "ray::" in words or "spawn_main" in words:
        return "worker"
    return next((f"Ray's {name}" for name in ("raylet", "gcs_server") if name in words), None)


def results(bench: Bench, name: str) -> dict[str, str]:
    """Hashes of what stages made; records and reports hold times."""
    runs = bench.folder / name / "runs"
    found = (path for path in runs.glob("*-*/??-*/**/*") if path.is_file() and path.name != "stage.json")
    return {
        str(path.relative_to(runs)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if not path.name.startswith(".") and not path.relative_to(runs).parts[1].endswith(".partial")
    }
