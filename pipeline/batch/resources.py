"""What a machine has for workers (cores, memory, GPUs), and how many workers and threads that is good for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FIRST_GUESS_MB = 1200.0
"""Memory of a worker before the first job was measured: the starter's 1.0 GiB (README), and some air."""


@dataclass(frozen=True)
class Plan:
    """How many workers, what each is given, and sentences on what was not as asked for."""

    workers: int
    threads: int
    environments: tuple[dict[str, str], ...]
    notices: tuple[str, ...] = ()


def plan_workers(
    wanted: int | None,
    *,
    cores: int,
    free_mb: float,
    worker_mb: float = FIRST_GUESS_MB,
    gpus: Sequence[str] = (),
) -> Plan:
    """As many workers as are wanted and fit into memory, cores shared out among them, a GPU of several for each.

    Args:
        wanted: None for one a GPU where there are several, otherwise one for every two cores.
        free_mb: memory that may be used; worker_mb: what a worker is known, or guessed, to take.
        gpus: as CUDA_VISIBLE_DEVICES names them.
    """
    asked = wanted or (len(gpus) if len(gpus) > 1 else max(1, cores // 2))
    fitting = max(1, int(free_mb // worker_mb))
    workers = min(asked, fitting)
    notices = []
    if workers < asked:
        notices.append(
            f"{workers} of {asked} workers: each takes about {worker_mb:.0f} MB, and {free_mb:.0f} MB are free"
        )
    threads = max(1, cores // workers)
    environments = []
    for number in range(workers):
        given = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
        if len(gpus) > 1:
            given["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        environments.append(given)
    if len(gpus) > 1 and workers > len(gpus):
        notices.append(f"{workers} workers share {len(gpus)} GPUs")
    return Plan(workers, threads, tuple(environments), tuple(notices))


def usable_cores(environment: Mapping[str, str] = os.environ) -> int:
    """Cores that this process may use, or as many threads as OMP_NUM_THREADS says."""
    said = environment.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory_mb(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """Memory that can be had now without swapping: the machine's, or what is left of this container's limit."""
    import psutil

    free = psutil.virtual_memory().available
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        cached = [
            int(line.split()[1])
            for line in (cgroup / "memory.stat").read_text().splitlines()
            if line.startswith("inactive_file ")
        ]
    except (OSError, ValueError, IndexError):  # no such container
        return free / 2**20
    if limit.isdecimal():
        free = min(free, int(limit) - used + sum(cached))
    return max(0, free) / 2**20


def visible_gpus(
    environment: Mapping[str, str] = os.environ, listed: Callable[[], Sequence[str]] | None = None
) -> list[str]:
    """The NVIDIA GPUs that this process may use, by number or name, without the import of torch."""
    if "CUDA_VISIBLE_DEVICES" in environment:
        names = [name.strip() for name in environment["CUDA_VISIBLE_DEVICES"].split(",")]
        return [name for name in names if name and name != "-1"]
    return list((listed or _listed)())


def _listed() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30, check=False)
    return [
        str(number)
        for number, _ in enumerate(line for line in done.stdout.splitlines() if line.startswith("GPU "))
    ]


def kernel_kills(path: Path = Path("/proc/vmstat")) -> int | None:
    """How many processes Linux has ended for want of memory since it began; None where it does not say."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def as_mb(text: str) -> float:
    """``900M``, ``4G`` or ``1.5GiB`` in MiB; ValueError for what is none."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])(i?b)?\s*", text, re.IGNORECASE)
    if found is None:
        raise ValueError(f"expected a size such as 900M or 4G, not {text!r}")
    return float(found[1]) * {"k": 2**-10, "m": 1.0, "g": 2.0**10, "t": 2.0**20}[found[2].lower()]
