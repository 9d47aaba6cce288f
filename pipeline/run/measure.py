"""How long a stage took and how much memory it needed, and on which machine."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

_INTERVAL_S = 0.05


class Measured:
    """``with Measured() as m:`` then ``m.seconds`` and ``m.peak_memory_mb`` (resident memory of this process).

    The kernel keeps only the peak since the process began. Where the block raised that peak it is the block's own and
    exact; otherwise the largest of samples taken every 50 ms stands in, which may miss a shorter spike.
    """

    seconds = 0.0
    peak_memory_mb = 0.0

    def __enter__(self) -> Measured:
        self._process = psutil.Process()
        self._kernel_peak = kernel_peak_mb()
        self._sampled = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True, name="slipcast-memory")
        self._start = time.perf_counter()
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            self._sampled = max(self._sampled, self._process.memory_info().rss)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._start
        self._stop.set()
        self._thread.join()
        peak = kernel_peak_mb()
        self.peak_memory_mb = peak if peak > self._kernel_peak else self._sampled / 2**20


def kernel_peak_mb() -> float:
    """Peak resident memory of this process since it began, in MiB; 0 where the system does not say."""
    info = psutil.Process().memory_info()
    if psutil.WINDOWS:
        return getattr(info, "peak_wset", 0) / 2**20
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if psutil.MACOS else peak / 2**10  # macOS counts bytes, Linux KiB


def machine() -> dict[str, Any]:
    """What a run's times depend on: {"system", "processor", "cores" that this process may use, "memory_gb"}."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": usable,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
    }


def commit() -> str:
    """Of the source that runs, with + where it was changed; the package's version where it is no checkout."""
    from importlib.metadata import version

    place = Path(__file__).parent
    try:
        asked = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
        done = subprocess.run(asked, capture_output=True, text=True, cwd=place, check=False)
    except OSError:
        return f"slipcast {version('slipcast')}"
    return done.stdout.strip() or f"slipcast {version('slipcast')}"


def _processor() -> str:
    """The processor's own name; Python's, which is often empty, where the system does not say."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.is_file() else []
    named = next((line for line in lines if line.startswith("model name")), "")
    return named.partition(":")[2].strip() or platform.processor() or "unknown"
