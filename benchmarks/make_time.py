"""Seconds and memory of ``slipcast make`` from a cold process to the GLB.

python -m benchmarks.make_time [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .machine import report
from .prompts import prompt


def main() -> None:
    """Run the command once in a fresh process and folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        command = [
            sys.executable,
            "-m",
            "slipcast.pipeline.cli.app",
            "make",
            prompt("teapot"),
            "--out",
            runs,
            "--json",
        ]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    stages = json.loads(done.stdout).get("stages", {})
    report(
        "make_time", {"seconds": round(seconds, 1), "peak_gib": round(peak, 2), "stages": stages}, given.out
    )


if __name__ == "__main__":
    main()
